"""What proves an order: facts as they were heard, and how Stripe took the money."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Kind(StrEnum):
    """What an exhibit proves."""

    PLACED = "placed"
    PAID = "paid"
    PREPARED = "prepared"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELED = "canceled"
    RETURNED = "returned"
    DIGITAL = "digital"
    MAIL = "mail"
    CHARGE = "charge"


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A fact of an order. `ref` is what of its kind it speaks of: a shipment, a mail, a charge, or `order`. `body` is
    JSON, by kind as `decide.hearing` writes it."""

    order_id: UUID
    kind: Kind
    ref: str
    at: datetime
    body: Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Charge:
    """Money as Stripe took it. Amounts in minor units; the checks say `pass`, `fail`, `unavailable` or `unchecked`, and
    `three_d_secure` how the bank asked its customer, None when it did not. `risk_score` goes from 0 to 100."""

    id: str
    payment_intent: str
    at: datetime
    amount_minor: int
    currency: str
    method: str
    brand: str | None = None
    last4: str | None = None
    country: str | None = None
    wallet: str | None = None
    three_d_secure: str | None = None
    three_d_secure_flow: str | None = None
    three_d_secure_version: str | None = None
    cvc_check: str | None = None
    line1_check: str | None = None
    postal_code_check: str | None = None
    network_status: str | None = None
    risk_level: str | None = None
    risk_score: int | None = None
    billing_name: str | None = None
    billing_address: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A refund of an order as a bank may want to see it: when it was asked for, and when it came to its state."""

    refund_id: UUID
    payment_intent: str | None
    stripe_refund_id: str | None
    amount_minor: int
    currency: str
    reason: str
    state: str
    asked_at: datetime
    state_at: datetime
