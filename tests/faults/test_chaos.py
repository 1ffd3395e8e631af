"""Chaos in short: a seed's faults while people buy, then rest; and that a seed means the same faults again."""

import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from tests.faults.chaos.buyers import Account
from tests.faults.chaos.plan import Kind, deck, links, plan
from tests.faults.chaos.verdict import orders_due, unproved
from tests.faults.chaos.wanted import SHARES, Visit, purchases

pytestmark = pytest.mark.faults

ROOT: Final = Path(__file__).parents[2]
SEED: Final = 32  # freezes PostgreSQL and kills the broker and two services within twenty seconds


def test_a_seed_draws_the_same_faults_and_purchases_again_and_another_seed_draws_others() -> None:
    again = [plan(7, 120.0), list(islice(purchases(7), 500)), links(7)]

    random.seed()
    assert [plan(7, 120.0), list(islice(purchases(7), 500)), links(7)] == again
    assert plan(8, 120.0) != again[0]
    assert list(islice(purchases(8), 500)) != again[1]


def test_a_longer_run_begins_as_a_shorter_one_and_a_long_one_meets_every_kind_and_every_service() -> None:
    short, long = plan(3, 60.0), plan(3, 600.0)

    assert len(short) > 3
    assert long[: len(short)] == short
    assert {fault.kind for fault in long} == set(Kind)
    killed = {fault.whom for fault in long if fault.kind is Kind.KILL}
    assert killed == set(deck(3)[Kind.KILL].targets)


def test_what_one_fault_takes_no_other_takes_before_it_has_ended() -> None:
    for seed in range(50):
        ends: dict[str, float] = {}
        faults = plan(seed, 300.0)
        assert len(faults) > 20
        for fault in faults:
            assert fault.at + fault.seconds <= 300.0
            for taken in fault.takes:
                assert ends.get(taken, 0.0) <= fault.at
                ends[taken] = fault.at + fault.seconds


def test_every_kind_of_visit_is_among_four_hundred_purchases() -> None:
    seen = Counter(wanted.visit for wanted in islice(purchases(1), 400))

    assert set(seen) == set(SHARES)


# -- what proves nothing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What a full run saw in which all went as it must."""

    taken: int = 50
    missed: int = 5
    predicates: int = 20
    struck: int = 21
    followed: int = 2_066
    due: int = orders_due(120.0, 18.0)

    def unproved(self) -> list[str]:
        return unproved(
            taken=self.taken, missed=self.missed, predicates=self.predicates, struck=self.struck,
            followed=self.followed, due=self.due,
        )  # fmt: skip


FINE: Final = Seen()


@pytest.mark.parametrize(
    "seen",
    [
        FINE,
        replace(FINE, followed=2_000),
        replace(FINE, taken=28, missed=28),
        replace(FINE, followed=500, due=orders_due(30.0, 18.0)),
    ],
)
def test_a_run_that_saw_enough_proves_something(seen: Seen) -> None:
    assert seen.unproved() == []


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (replace(FINE, taken=0, missed=0), ["no sample of the predicates was taken"]),
        (
            replace(FINE, taken=0, missed=55),
            ["no sample of the predicates was taken", "most samples could not be taken: 55 of 55"],
        ),
        (replace(FINE, taken=27, missed=28), ["most samples could not be taken: 28 of 55"]),
        (replace(FINE, predicates=0), ["no predicate was looked at in the samples"]),
        (replace(FINE, struck=0), ["no fault struck"]),
        (replace(FINE, followed=1_999), ["too few orders followed to their end: 1999 of 2000 that are due"]),
        (
            replace(FINE, followed=499, due=orders_due(30.0, 18.0)),
            ["too few orders followed to their end: 499 of 500 that are due"],
        ),
    ],
)
def test_a_run_that_saw_too_little_fails(seen: Seen, why: list[str]) -> None:
    assert seen.unproved() == why


@pytest.mark.parametrize(
    ("duration", "rate", "due"),
    [(120, 18, 2000), (600, 18, 2000), (120, 4, 2000), (60, 18, 1000), (30, 18, 500), (30, 36, 500), (22, 4, 82)],
)
def test_a_full_run_follows_two_thousand_orders_and_a_shorter_one_its_share(
    duration: float, rate: float, due: int
) -> None:
    assert orders_due(duration, rate) == due


def test_who_went_away_found_nothing_left_or_met_an_error_was_not_followed() -> None:
    account = Account()

    for outcome in ("paid", "paid", "abandoned", "sold out", "went away", f"error in {Visit.PAY}"):
        account.ended(outcome)

    assert (account.done, account.followed) == (6, 3)


# -- a run -----------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_a_short_run_loses_nothing_and_says_how_to_run_it_again(record_property: Callable[[str, object], None]) -> None:
    command = [sys.executable, "-m", "tests.faults.chaos", "--seed", str(SEED), "--duration", "22", "--rate", "4"]
    patient = [*command, "--rest", "240"]  # on a busy machine

    done = subprocess.run(patient, cwd=ROOT, capture_output=True, text=True, timeout=580, check=False)

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    said = done.stdout.splitlines()
    assert said[-2:] == [
        f"replay    make chaos SEED={SEED} DURATION=22 RATE=4",
        "verdict   nothing lost, nothing twice",
    ]
    struck = [line for line in said if re.match(r"  +\d+\.\d to +\d+\.\d  ", line)]
    assert len(struck) >= 3
    for line in struck:
        record_property("struck", line.strip())
