"""Facts of refunds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class State(StrEnum):
    """The life of a refund. `succeeded` may still become `failed`: banks return money weeks later."""

    REQUESTED = "requested"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    SUBMITTED = "submitted"
    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Payment:
    """Money captured by one intent."""

    payment_intent: str
    order_id: UUID
    currency: str
    captured_minor: int


@dataclass(frozen=True, slots=True)
class Order:
    """What is known of an order. `shortfall`: it was paid and cannot be served."""

    order_id: UUID
    customer: Mapping[str, str | None] | None
    paid: bool
    shortfall: bool


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund of one payment. `stripe_attempt` counts the keys under which Stripe has kept a failure of its own."""

    id: UUID
    order_id: UUID
    payment_intent: str
    amount_minor: int
    currency: str
    reason: str
    state: State
    requester: str
    approver: str | None = None
    stripe_refund_id: str | None = None
    failure_reason: str | None = None
    first_submitted_at: datetime | None = None
    stripe_attempt: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What Stripe says of a refund; `status` in Stripe's words."""

    stripe_refund_id: str
    status: str
    failure_reason: str | None = None
