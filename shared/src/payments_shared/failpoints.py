"""Places where a test may kill this process: `PAYMENTS_FAILPOINT="after_commit_before_ack=kill:7"`.

Several stand apart by commas. `kill:N` sends SIGKILL at the N-th hit, `sleep:SECONDS:N` blocks once. A point that
names what it is at work on can be met there alone: `before_handler@<message id>=kill:1`. Without the variable a
failpoint is one look into an empty dictionary. Each one that fires leaves a line in the file named by
`PAYMENTS_FAILPOINT_LOG`, on disk before the process dies, so that a test knows that it took effect.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(slots=True)
class _Plan:
    action: str
    at_hit: int
    seconds: float = 0.0
    hits: int = 0


def parse_failpoints(text: str) -> dict[str, _Plan]:
    """The plans of one environment variable.

    Raises:
        ValueError: an entry is not `name=kill:N` or `name=sleep:SECONDS:N`.
    """
    plans: dict[str, _Plan] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, plan = entry.partition("=")
        match plan.split(":"):
            case ["kill", count]:
                plans[name] = _Plan("kill", int(count))
            case ["sleep", seconds, count]:
                plans[name] = _Plan("sleep", int(count), float(seconds))
            case _:
                raise ValueError(f"failpoint {entry!r} is neither name=kill:N nor name=sleep:SECONDS:N")
    return plans


_PLANS: Final = parse_failpoints(os.environ.get("PAYMENTS_FAILPOINT", ""))


def failpoint(name: str, of: object = None) -> None:
    """Mark a boundary at which a crash must be harmless; `of` is what the process is at work on."""
    if not _PLANS:
        return
    for place in (name, f"{name}@{of}"):
        if (plan := _PLANS.get(place)) is not None:
            _hit(place, plan)


def _hit(name: str, plan: _Plan) -> None:
    plan.hits += 1
    if plan.hits != plan.at_hit:
        return
    if target := os.environ.get("PAYMENTS_FAILPOINT_LOG"):
        with Path(target).open("a", encoding="utf-8") as log:
            log.write(f"{name} {plan.action} pid={os.getpid()}\n")
            log.flush()
            os.fsync(log.fileno())
    if plan.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(plan.seconds)
