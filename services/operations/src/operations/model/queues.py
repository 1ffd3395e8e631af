"""What the broker says of queues."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the broker says of a queue. Rates are a second; None: it has not measured yet."""

    name: str
    ready: int
    unacknowledged: int
    consumers: int
    incoming: float | None = None
    outgoing: float | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a service: in the queue of its facts and in that of its commands, in its retry tiers together, and
    among its dead letters that nobody has kept yet."""

    service: str
    events: QueueState | None
    work: QueueState | None
    retrying: int
    dead: int
