"""What is done to many dead letters at once."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from operations.model.letters import Filter

Act = Literal["replay", "discard", "archive"]
ANYTHING_MAX = 10_000  # what one bulk takes


class BulkState(StrEnum):
    """`done` once nothing waits and nothing is on the way."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELED = "canceled"
    DONE = "done"


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
