"""What a run must have seen before its silence proves anything."""

import math
from typing import Final

FULL_SECONDS: Final = 120.0
FULL_RATE: Final = 18.0
ORDERS_MIN: Final = 2_000  # of a full run


def orders_due(duration: float, rate: float) -> int:
    """How many orders must be followed to their end: in a full run `ORDERS_MIN`, whatever its rate; in a shorter one
    its share of them, and less where fewer buyers a second were asked for."""
    if duration >= FULL_SECONDS:
        return ORDERS_MIN
    return math.ceil(ORDERS_MIN * duration / FULL_SECONDS * min(1.0, rate / FULL_RATE))


def unproved(*, taken: int, missed: int, predicates: int, struck: int, followed: int, due: int) -> list[str]:
    """Why a run in which nothing was found wrong proves nothing; empty when it does. `taken` and `missed` count samples
    of the `predicates` that always hold, `struck` faults, `followed` and `due` orders."""
    found = []
    if not taken:
        found.append("no sample of the predicates was taken")
    elif not predicates:
        found.append("no predicate was looked at in the samples")
    if missed > taken:
        found.append(f"most samples could not be taken: {missed} of {taken + missed}")
    if not struck:
        found.append("no fault struck")
    if followed < due:
        found.append(f"too few orders followed to their end: {followed} of {due} that are due")
    return found
