"""`python -m tests.mutants`: make each mistake of the catalogue on a copy of the tree, and see its test fail.

Exit status 1 when a mistake survives, or when a test fails without any.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from bench import machine
from bench.evidence import Report, end_with, say
from sandbox.services.resolver import VARIABLES, start_servers
from tests.faults.evidence import table
from tests.mutants.catalogue import MUTANTS, Mutant
from tests.mutants.tree import Tree, copied

TEST_SECONDS_MAX: Final = 600


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run of tests: how many passed, how many failed by an assertion or error of their own, and what
    else went wrong."""

    passed: int
    failed: int
    broken: str
    seconds: float


def main() -> None:
    """Judge all mutants, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MUTANT", help="such as M3; all by default")
    parser.add_argument("--evidence", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]
    with start_servers(say=say) as servers, copied() as tree:
        urls = (servers.admin_dsn, servers.amqp_url, servers.management_url)
        os.environ.update(zip(VARIABLES, urls, strict=True))
        report = judge(tree, chosen)
    end_with(report, arguments.evidence)


def judge(tree: Tree, mutants: Sequence[Mutant]) -> Report:
    """Run every test without a mistake, and then each with its own."""
    say(f"without any mistake: {len({mutant.test for mutant in mutants})} tests")
    whole = run(tree, dict.fromkeys(mutant.test for mutant in mutants))
    complaints = [] if whole.passed and not whole.failed and not whole.broken else [f"without any mistake: {whole}"]
    rows: list[tuple[object, ...]] = []
    for mutant in mutants:
        with tree.damaged(mutant):
            found = run(tree, [mutant.test])
        killed = found.failed > 0 and not found.broken
        verdict = "killed" if killed else f"SURVIVED {found.broken}"
        say(f"{mutant.name} {verdict} after {found.seconds:.0f} s: {mutant.mistake}")
        if not killed:
            complaints.append(f"{mutant.name} ({mutant.mistake}) survives {mutant.test}")
        where, _, name = mutant.test.partition("::")
        rows.append((mutant.name, mutant.mistake, mutant.file, f"{where}::{name}", f"{found.seconds:.1f}", verdict))
    notes = [f"{mutant.name}: {mutant.note}" for mutant in mutants if mutant.note]
    lines = [
        *machine.facts(),
        "",
        *table(("mutant", "mistake", "file", "test", "s", "verdict"), rows),
        *(["", *notes] if notes else []),
        "",
        f"without any mistake: {whole.passed} cases of these tests passed in {whole.seconds:.0f} s",
        f"killed    {len(mutants) - sum('survives' in c for c in complaints)} of {len(mutants)}",
    ]
    return Report("Mutants", "make mutants", lines, complaints)


def run(tree: Tree, tests: Iterable[str]) -> Verdict:
    """Run `tests` in the copy, with all that they start."""
    started = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".xml") as record:
        command = [str(tree.python), "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", f"--junitxml={record.name}"]
        try:
            done = subprocess.run(
                [*command, *tests],
                cwd=tree.folder, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                timeout=TEST_SECONDS_MAX, capture_output=True, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Verdict(0, 0, f"(no end within {TEST_SECONDS_MAX} s)", time.monotonic() - started)
        seconds = time.monotonic() - started
        if done.returncode not in (0, 1):
            sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:])
            return Verdict(0, 0, f"(pytest ended with {done.returncode})", seconds)
        suite = ET.parse(record.name).getroot().find("testsuite")  # noqa: S314 - written by our own pytest
    if suite is None:
        return Verdict(0, 0, "(no record)", seconds)
    total, failed, errors, skipped = (int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped"))
    broken = f"({errors} tests could not run)" if errors and not failed else ""
    return Verdict(total - failed - errors - skipped, failed, broken, seconds)


if __name__ == "__main__":
    main()
