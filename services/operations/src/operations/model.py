"""Facts of operations."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it came: who failed, why, and the message untouched."""

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
class Filter:
    """Which dead letters; None means any."""

    service: str | None = None
    type: str | None = None
    status: str | None = None
    fingerprint: str | None = None
    limit: int = 100
