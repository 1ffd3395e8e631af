"""What is let in: switches, and how often somebody may ask."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Switch(StrEnum):
    """What administrators may stop."""

    CHECKOUTS = "checkouts"


class Position(StrEnum):
    """Where a switch stands."""

    OPEN = "open"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Turn:
    """Who turned a switch, when and why. `reason` None: it was opened without a word."""

    state: Position
    actor: str
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` requests of one subject in a window of `seconds`, which begins with the first of them."""

    name: str
    most: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests a window has seen, and how long it lasts."""

    name: str
    taken: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Window:
    """How many requests there were until now, and when the next one begins anew, by a clock that never runs back."""

    taken: int
    ends_at_seconds: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit, until it begins anew in `reset_seconds`."""

    limit: Limit
    remaining: int
    reset_seconds: int
    exceeded: bool
