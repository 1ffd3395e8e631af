"""Chaos in short: a seed's faults while people buy, then rest; and that a seed means the same faults again."""

import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from tests.faults.chaos.plan import Kind, deck, links, plan
from tests.faults.chaos.wanted import SHARES, purchases

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
