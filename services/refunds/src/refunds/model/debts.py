"""What the system owes, and what became of it."""

from dataclasses import dataclass
from uuid import UUID

from refunds.model.refunds import State


@dataclass(frozen=True, slots=True)
class Debt:
    """Why the system owes money of a tender, and how much; `amount_minor` None: all of it."""

    reason: str
    amount_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A refund of a tender, whoever asked for it. `displaced`: it was canceled since another refund, or the loss of a
    dispute, left no room for it."""

    id: UUID
    requester: str
    amount_minor: int
    state: State
    displaced: bool = False
