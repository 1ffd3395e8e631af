"""What buyers' banks dispute, and what card networks warn of."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class DisputeState(StrEnum):
    """The life of a dispute. An `inquiry` only asks and withholds nothing; it ends `closed` or is escalated to `open`.

    `open` waits for our evidence, `under_review` for the bank. Both withhold the amount, and `lost` keeps it.
    """

    INQUIRY = "inquiry"
    OPEN = "open"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    CLOSED = "closed"


UNDECIDED = frozenset({DisputeState.INQUIRY, DisputeState.OPEN, DisputeState.UNDER_REVIEW})
OVER = frozenset(DisputeState) - UNDECIDED


@dataclass(frozen=True, slots=True)
class Told:
    """A dispute as Stripe answers it; `status` in Stripe's words, `amount_minor` in minor units of `currency`."""

    id: str
    charge: str
    payment_intent: str | None
    amount_minor: int
    currency: str
    status: str
    reason: str
    opened_at: datetime
    network_reason_code: str | None = None
    due_by: datetime | None = None
    has_evidence: bool = False
    submission_count: int = 0
    past_due: bool = False
    charge_refundable: bool = False


@dataclass(frozen=True, slots=True)
class Dispute:
    """What is known of a dispute: the answer to the newest question, put at `asked_at` by the database's clock.

    `order_id` is None until its payment is known. `version` counts its states, and `said` is what was announced last:
    `opened:inquiry`, `opened:dispute`, `won` or `lost`. `reminded_hours`: how near its deadline was when staff were
    last reminded. `charge_refundable`: Stripe still refunds the charge.
    """

    id: str
    charge: str
    payment_intent: str | None
    order_id: UUID | None
    amount_minor: int
    currency: str
    state: DisputeState
    stripe_status: str
    reason: str
    network_reason_code: str | None
    due_by: datetime | None
    has_evidence: bool
    submission_count: int
    past_due: bool
    charge_refundable: bool
    asked_at: datetime
    version: int
    said: str | None
    reminded_hours: int | None
    opened_at: datetime
    closed_at: datetime | None

    @property
    def blocks(self) -> bool:
        """Whether nothing is refunded of the payment until it is decided."""
        return self.state in (DisputeState.OPEN, DisputeState.UNDER_REVIEW)


@dataclass(frozen=True, slots=True)
class DisputeStep:
    """One thing that happened to a dispute; `before` is None for its first."""

    before: DisputeState | None
    after: DisputeState
    cause: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DisputeSearch:
    """Which disputes to list: those after the dispute `after`, narrowed by what is given. `due_before`: evidence is due
    until then and none was handed in."""

    after: str | None = None
    order_id: UUID | None = None
    state: DisputeState | None = None
    due_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class FraudWarning:
    """A card network believes that a payment was fraud. `actionable`: it was neither refunded nor disputed when that
    was told last."""

    id: str
    charge: str
    payment_intent: str | None
    fraud_type: str
    actionable: bool
    heard_at: datetime | None = None
