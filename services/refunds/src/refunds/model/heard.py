"""What Stripe tells of refunds."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Heard:
    """A refund as Stripe has it. `refund_id`: what we wrote into its metadata, in its external form; somebody in the
    dashboard writes nothing."""

    stripe_refund_id: str
    payment_intent: str | None
    amount_minor: int
    currency: str
    status: str
    failure_reason: str | None = None
    refund_id: str | None = None
    pending_reason: str | None = None
    action_expires_at: datetime | None = None
