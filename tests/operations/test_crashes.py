"""Operations dies at every line of a bulk; another start goes on, and every effect is there once."""

import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import aiohttp
import pytest

from sandbox.services.resolver import Servers
from tests.operations.desk import BULKS, Desk, desk_at, spoiled, unheld
from tests.support.deadline import eventually

UNHELD = "order.unheld.v1"

# Where the process dies, by how often it has come there.
DEATHS = (
    "before_commit=kill:1",  # asked for and not written down
    "after_commit=kill:1",  # written down and not answered
    "before_commit=kill:4",  # in the midst of claims
    "after_commit=kill:9",
    "replay_before_publish=kill:1",
    "replay_before_publish=kill:4",
    "replay_after_publish_before_mark=kill:1",
    "replay_after_publish_before_mark=kill:3",
    "after_commit_before_ack=kill:1",  # a resolution was heard and not acknowledged
)


@pytest.fixture
async def desk(lasting: Desk) -> Desk:
    """The desk with operations up, whatever the last test left."""
    if not lasting.deployment.children["operations"].running:
        await restarted(lasting)
    return lasting


@pytest.fixture(scope="module")
async def lasting(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk whose operations may die."""
    async with desk_at(servers, tmp_path_factory.mktemp("desk"), mark="t" + secrets.token_hex(4)) as made:
        yield made


async def restarted(desk: Desk, **environment: str) -> None:
    """Operations anew."""
    desk.deployment.start("operations", **environment)
    desk.deployment.wait_ready("operations")


async def died(desk: Desk) -> bool:
    return not desk.deployment.children["operations"].running


async def asked(desk: Desk, letters: list[str], who: str) -> bool:
    """Start a bulk; False when operations died over it, whether or not it wrote that down."""
    body = {"act": "replay", "reason": "a test", "rate": 30, "filter": {"ids": letters}}
    with contextlib.suppress(aiohttp.ClientError):
        status, answer = await desk.call("POST", BULKS, body, who=who)
        assert status == 202 or answer["code"] == "nothing_matches", answer
        return True
    return False


async def bulks_of(desk: Desk, letters: list[str]) -> dict[str, str]:
    """The state of every bulk that has one of `letters`."""
    sql = """SELECT DISTINCT b.id, b.state FROM operations.bulks AS b
               JOIN operations.bulk_items AS i ON i.bulk_id = b.id WHERE i.dead_letter_id = ANY ($1::uuid[])"""
    return {str(row["id"]): row["state"] for row in await desk.owner.fetch(sql, [UUID(one) for one in letters])}


@pytest.mark.parametrize("death", DEATHS)
async def test_overlapping_bulks_survive_a_death_of_operations(desk: Desk, death: str) -> None:
    messages = [unheld() for _ in range(60)]
    letters = await desk.fail(messages)
    before = await desk.consumed("fulfillment", UNHELD)
    assert desk.deployment.stop("operations") == 0
    await restarted(desk, PAYMENTS_FAILPOINT=death)

    answered = [await asked(desk, letters[:40], "olga"), await asked(desk, letters[20:], "piet")]
    await eventually(lambda: died(desk), within_seconds=90, what=f"operations dies at {death}")
    await restarted(desk)
    if not all(answered):
        assert await asked(desk, letters, "olga"), "an operator without an answer looks, and asks again"

    done = [await desk.until(bulk, "done") for bulk in await bulks_of(desk, letters)]
    assert await desk.statuses(letters) == {"resolved": 60}
    assert await desk.inboxed("fulfillment", messages) == 60
    handled = await desk.consumed("fulfillment", UNHELD) - before
    assert handled["applied"] == 60
    assert set(handled) <= {"applied", "duplicate"}
    replays = await desk.replays_of(letters)
    assert len(replays) == len({row["dead_letter_id"] for row in replays}) == 60, "claimed once each"
    counts: Counter[str] = sum((Counter(bulk["counts"]) for bulk in done), Counter())
    assert counts["resolved"] == 60
    assert set(counts) <= {"resolved", "skipped"}
    audit = Counter(row["action"] for row in await desk.audit(letters))
    assert audit == {"replay": 60, "resolved": 60}


async def test_a_bulk_that_fails_again_pauses_over_a_death_as_well(desk: Desk) -> None:
    letters = await desk.fail([spoiled() for _ in range(40)])
    bulk = (await desk.start(filter={"ids": letters}, rate=100))["id"]

    async def begun() -> bool:
        return bool(await desk.replays_of(letters))

    await eventually(begun, within_seconds=30, what="the first are claimed")
    desk.deployment.kill("operations")
    await restarted(desk)

    paused = await desk.until(bulk, "paused")

    assert "failed again as" in paused["state_reason"]


async def test_the_broker_goes_away_and_comes_back_in_the_midst(desk: Desk) -> None:
    """Every connection of operations is cut, again and again: outcomes are not known, and settled all the same."""
    messages = [unheld() for _ in range(80)]
    letters = await desk.fail(messages)
    before = await desk.consumed("fulfillment", UNHELD)
    bulk = (await desk.start(filter={"ids": letters}, rate=100))["id"]
    cut = 0
    while (await desk.bulk(bulk))["state"] == "running" and cut < 6:
        cut += await desk.cut_links("operations")

    await desk.until(bulk, "done")

    assert cut > 0
    assert await desk.statuses(letters) == {"resolved": 80}
    assert (await desk.consumed("fulfillment", UNHELD) - before)["applied"] == 80
