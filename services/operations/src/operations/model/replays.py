"""Messages on their way back to a service, and how that ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID


class Outcome(StrEnum):
    """Of a replay. The first three are told by the service, in the transaction of its inbox."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNSENT = "unsent"


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
