"""Refunds, and the payments and orders that they are of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from refunds.model.bills import STORE_CREDIT, Bill


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
    """Money captured by one intent. `settles`: it paid the order's bill; what does not is surplus."""

    payment_intent: str
    order_id: UUID
    currency: str
    captured_minor: int
    settles: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What is known of an order. `shortfall`: it was paid and cannot be served. `bill` is known once it is paid, and
    `account` is the subject of whoever was signed in. `credit_released`: checkout itself gave back what store credit
    paid."""

    order_id: UUID
    customer: Mapping[str, str | None] | None
    paid: bool
    shortfall: bool
    bill: Bill | None = None
    account: str | None = None
    credit_released: bool = False


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund of one payment; without `payment_intent`, of what store credit paid. `destination` is `original` or
    `store_credit`. `stripe_attempt` counts the keys under which Stripe has kept a failure of its own. `pending_reason`,
    in Stripe's words: why it is not there yet; `action_expires_at`: until when its buyer can say where it goes."""

    id: UUID
    order_id: UUID
    payment_intent: str | None
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
    request_id: UUID | None = None
    destination: str = "original"
    pending_reason: str | None = None
    action_expires_at: datetime | None = None

    @property
    def tender(self) -> str:
        """What paid it."""
        return self.payment_intent or STORE_CREDIT

    @property
    def becomes_credit(self) -> bool:
        """Whether what a payment at Stripe paid becomes store credit."""
        return self.payment_intent is not None and self.destination == "store_credit"


@dataclass(frozen=True, slots=True)
class Answer:
    """What Stripe says of a refund; `status` in Stripe's words."""

    stripe_refund_id: str
    status: str
    failure_reason: str | None = None
    pending_reason: str | None = None
    action_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """One thing that happens to a refund; `before` is None for its first. `actor`: the subject of whoever does it, or
    the policy; None: Stripe or a sweep."""

    refund_id: UUID
    before: State | None
    after: State
    cause: str
    actor: str | None


@dataclass(frozen=True, slots=True)
class Step(Begun):
    """One thing that happened to a refund, and when."""

    at: datetime
