"""Chaos in short: a seed's faults while people buy, then rest; and that a seed means the same faults again."""

import random
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from tests.faults.chaos.plan import Kind, deck, links, plan
from tests.faults.chaos.wanted import SHARES, purchases

pytestmark = pytest.mark.faults

ROOT: Final = Path(__file__).parents[2]


def test_a_seed_draws_the_same_faults_and_purchases_again_and_another_seed_draws_others() -> None:
    again = [plan(7, 120.0), list(islice(purchases(7), 500)), links(7)]

    random.seed()
    assert [plan(7, 120.0), list(islice(purchases(7), 500)), links(7)] == again
    assert plan(8, 120.0) != again[0]
    assert list(islice(purchases(8), 500)) != again[1]


def test_a_longer_run_begins_as_a_shorter_one_and_a_long_one_meets_every_kind_and_every_service() -> None:
    short, long = plan(3, 60.0), plan(3, 600.0)

    assert long[: len(short)] == short
    assert {fault.kind for fault in long} == set(Kind)
    killed = {fault.whom for fault in long if fault.kind is Kind.KILL}
    assert killed == set(deck(3)[Kind.KILL].targets)


def test_what_one_fault_takes_no_other_takes_before_it_has_ended() -> None:
    for seed in range(50):
        ends: dict[str, float] = {}
        for fault in plan(seed, 300.0):
            assert fault.at + fault.seconds <= 300.0
            for taken in fault.takes:
                assert ends.get(taken, 0.0) <= fault.at
                ends[taken] = fault.at + fault.seconds


def test_every_kind_of_visit_is_among_a_hundred_purchases() -> None:
    seen = Counter(wanted.visit for wanted in islice(purchases(1), 200))

    assert set(seen) == set(SHARES)
