"""How often somebody may ask."""

from dataclasses import dataclass


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
