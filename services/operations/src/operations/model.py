"""Facts of operations."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

Act = Literal["replay", "discard"]
ANYTHING_MAX = 10_000  # what one bulk takes


class Status(StrEnum):
    """Of a dead letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


class Outcome(StrEnum):
    """Of a replay. The first three are told by the service, in the transaction of its inbox."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNSENT = "unsent"


class BulkState(StrEnum):
    """`done` once nothing waits and nothing is on the way."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELED = "canceled"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it came: who failed, why, and the message untouched.

    `replay_id` is the replay that brought the message back before it failed again, if one did.
    """

    id: UUID
    message_id: str
    service: str
    queue: str
    type: str
    correlation_id: str | None
    reason: str
    fingerprint: str
    exception_type: str | None
    exception_message: str | None
    handler: str | None
    stack: str | None
    attempts: int
    first_failed_at: datetime | None
    last_failed_at: datetime
    headers: Mapping[str, Any]  # Any: AMQP table values made JSON
    body: bytes
    replay_id: UUID | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a dead letter stands that is known already."""

    id: UUID
    status: Status
    replay_id: UUID | None
    settled_at: datetime | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """A dead letter in a list."""

    id: UUID
    message_id: str
    service: str
    queue: str
    type: str
    correlation_id: str | None
    status: str
    reason: str
    fingerprint: str
    exception_type: str | None
    exception_message: str | None
    handler: str | None
    attempts: int
    failures: int
    first_failed_at: datetime | None
    last_failed_at: datetime


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters of one service and type that failed in one way."""

    service: str
    type: str
    fingerprint: str
    reason: str
    exception_type: str | None
    exception_message: str | None  # of the latest
    open: int
    replaying: int
    first_failed_at: datetime
    last_failed_at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters; None means any. Ages are of the latest failure."""

    service: str | None = None
    type: str | None = None
    status: str | None = None
    fingerprint: str | None = None
    older_than_seconds: float | None = None
    newer_than_seconds: float | None = None
    ids: tuple[UUID, ...] | None = None

    @property
    def narrows(self) -> bool:
        """Whether it names anything: who acts upon everything has to say so in some way."""
        named = (self.service, self.type, self.fingerprint, self.older_than_seconds, self.newer_than_seconds, self.ids)
        return any(value is not None for value in named)


@dataclass(frozen=True, slots=True)
class Instruction:
    """What an operator asked for: who, why, and how fast (replays a second for each service).

    `force`: discard also what may still take effect, as its last replay was sent and nobody told how it ended.
    """

    act: Act
    wanted: Filter
    limit: int
    rate: float
    force: bool
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Running:
    """A bulk that the worker goes on with."""

    id: UUID
    act: Act
    actor: str
    reason: str
    rate: float
    force: bool
    cutoff: datetime
    by_ids: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay to be sent. `body` is the edited copy's, or the dead letter's own."""

    id: UUID
    dead_letter_id: UUID
    bulk_id: UUID | None
    message_id: str
    queue: str
    type: str
    correlation_id: str | None
    headers: Mapping[str, Any]  # Any: AMQP table values made JSON
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """How one of a bulk's latest replays ended; `fingerprint` is that of a new failure."""

    outcome: str
    fingerprint: str | None
