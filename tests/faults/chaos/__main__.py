"""`python -m tests.faults.chaos --seed 7 --duration 120 [--rate 18] [--rest 60] [--evidence FILE]`; exit status 1 when it fails."""

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path

from bench.machine import facts
from tests.faults.chaos.report import lines, replay
from tests.faults.chaos.supervisor import Options, run


def main() -> int:
    """Run once and say how it went."""
    asked = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    asked.add_argument(
        "--seed", type=int, default=random.randrange(1, 10**6), help="draws the faults and the purchases"
    )
    asked.add_argument("--duration", type=float, default=120.0, help="seconds with faults")
    asked.add_argument("--rate", type=float, default=18.0, help="buyers a second")
    asked.add_argument("--rest", type=float, default=60.0, help="seconds from the end of all faults to rest, at most")
    asked.add_argument("--evidence", type=Path, help="a file that takes the report as well")
    given = asked.parse_args()
    options = Options(given.seed, given.duration, given.rate, given.rest)
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f}  {line}", flush=True)

    known = facts()
    say(replay(options))
    made = asyncio.run(run(options, say=say))
    report = lines(made, known)
    print("", *report, sep="\n", flush=True)
    if given.evidence:
        head = f"# Chaos, seed {options.seed}\n\nWritten by the run itself; its last lines say how to repeat it.\n"
        given.evidence.write_text("\n".join([head, "```", *report, "```", ""]))
    return 1 if made.failures else 0


if __name__ == "__main__":
    sys.exit(main())
