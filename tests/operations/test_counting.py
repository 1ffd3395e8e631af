"""What is counted over all dead letters is counted for everybody who looks, and not by everybody."""

import asyncio
from datetime import UTC, datetime
from typing import cast

import pytest

from operations.handlers import counting
from operations.handlers.counting import KEPT_MAX, Counting
from operations.handlers.looking import Looking
from operations.model.letters import Group, Unsettled
from payments_shared.errors import Retryable

AT = datetime(2026, 8, 26, tzinfo=UTC)


def nth(number: int) -> list[Unsettled]:
    """What is told by the count of that number."""
    return [Unsettled("inventory", number, 0, AT, AT)]


def group(service: str | None, type_: str | None) -> list[Group]:
    return [Group(service or "any", type_ or "any", "f", "poison", None, None, 1, 0, AT, AT)]


class Letters:
    """A `Looking` that counts how often it is asked, and takes `seconds` of a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.seconds, self.asked = 1000.0, 0.0, 0
        self.free, self.away = asyncio.Event(), False
        self.free.set()
        monkeypatch.setattr(counting, "monotonic_seconds", lambda: self.now)

    async def unsettled(self) -> list[Unsettled]:
        self.asked += 1
        told = self.asked
        await self.free.wait()
        self.now += self.seconds
        if self.away:
            raise Retryable("database_unavailable", "Away.")
        return nth(told)

    async def groups(self, service: str | None, type_: str | None) -> list[Group]:
        await self.unsettled()
        return group(service, type_)


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Letters:
    return Letters(monkeypatch)


@pytest.fixture
def counted(letters: Letters) -> Counting:
    return Counting(cast("Looking", letters))


async def test_who_asks_while_it_is_being_counted_is_told_that(letters: Letters, counted: Counting) -> None:
    letters.free.clear()
    waiting = [asyncio.create_task(counted.unsettled()) for _ in range(100)]
    await asyncio.sleep(0)
    letters.free.set()

    assert await asyncio.gather(*waiting) == [nth(1)] * 100


async def test_what_is_quick_is_counted_anew_for_each(letters: Letters, counted: Counting) -> None:
    letters.seconds = counting.QUICK_SECONDS / 2

    assert [await counted.unsettled() for _ in range(3)] == [nth(1), nth(2), nth(3)]


async def test_what_took_long_is_told_for_twenty_times_as_long(letters: Letters, counted: Counting) -> None:
    letters.seconds = 0.05
    first = await counted.unsettled()

    letters.now += 0.99
    still = await counted.unsettled()
    letters.now += 0.02
    anew = await counted.unsettled()

    assert (first, still, anew) == (nth(1), nth(1), nth(2))


async def test_nothing_is_told_that_is_older_than_two_seconds(letters: Letters, counted: Counting) -> None:
    letters.seconds = 3.0
    await counted.unsettled()

    letters.now += counting.AGE_MAX_SECONDS

    assert await counted.unsettled() == nth(2)


async def test_a_failure_is_told_to_all_who_wait_and_to_nobody_else(letters: Letters, counted: Counting) -> None:
    letters.free.clear()
    letters.away, letters.seconds = True, 4.0
    waiting = [asyncio.create_task(counted.unsettled()) for _ in range(10)]
    await asyncio.sleep(0)
    letters.free.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)

    letters.away = False

    assert [type(one) for one in told] == [Retryable] * 10
    assert letters.asked == 1
    assert await counted.unsettled() == nth(2)


async def test_who_goes_away_leaves_the_count_to_the_others(letters: Letters, counted: Counting) -> None:
    letters.free.clear()
    gone, waiting = asyncio.create_task(counted.unsettled()), asyncio.create_task(counted.unsettled())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    letters.free.set()

    assert await waiting == nth(1)


async def test_groups_are_kept_apart_by_what_was_asked_for(letters: Letters, counted: Counting) -> None:
    letters.seconds = 0.05

    found = [await counted.groups(service, type_) for service in ("a", "b") for type_ in (None, "t")]

    assert found == [group("a", None), group("a", "t"), group("b", None), group("b", "t")]
    assert await counted.groups("a", "t") == group("a", "t")
    assert letters.asked == 4


async def test_types_that_nobody_has_fill_no_memory(letters: Letters, counted: Counting) -> None:
    letters.seconds = 0.05
    for number in range(KEPT_MAX + 50):
        await counted.groups(None, f"type{number}")

    assert len(counted._known) == KEPT_MAX
