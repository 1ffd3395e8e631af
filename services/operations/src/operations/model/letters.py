"""Dead letters: what a service could not handle, as it came and as it is listed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Status(StrEnum):
    """Of a dead letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


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
    archived_at: datetime | None = None


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
class Unsettled:
    """What a service could not handle and nobody has settled. Times are of the latest failures."""

    service: str
    open: int
    replaying: int
    oldest: datetime
    newest: datetime


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
    archived: bool | None = None

    @property
    def narrows(self) -> bool:
        """Whether it names anything: who acts upon everything has to say so in some way."""
        ages = (self.older_than_seconds, self.newer_than_seconds)
        named = (self.service, self.type, self.status, self.fingerprint, *ages, self.ids)
        return any(value is not None for value in named)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of dead letters ended: the next begins behind it."""

    last_failed_at: datetime
    id: UUID
