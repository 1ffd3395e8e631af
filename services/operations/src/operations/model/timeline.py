"""Where a reference is mentioned."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Mentioned:
    """A message in which a searched reference stands."""

    message_id: UUID
    order_ref: str | None
    type: str
    source: str
    time: datetime
