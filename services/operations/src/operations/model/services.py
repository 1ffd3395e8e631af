"""What a service says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from operations.model.doors import DoorState


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a service says of itself. None and nothing: it did not answer, or does not say."""

    name: str
    answers: bool
    failing: tuple[str, ...] = ()
    outbox_depth: int | None = None
    outbox_oldest_seconds: float | None = None
    orders_held: Mapping[str, int] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()  # switches that stand stopped
    resting: Mapping[str, str] = field(default_factory=dict)  # queues that rest, and what they wait for
    idle: tuple[str, ...] = ()  # queues of which it should take and does not
    stripe_away: bool = False  # it refuses calls to Stripe at once
    broker_blocks: bool = False  # an alarm at the broker holds its publishing back
    refunds_unanswered: int = 0
    doors: tuple[DoorState, ...] = ()
    secrets_made: Mapping[str, datetime] = field(default_factory=dict)
