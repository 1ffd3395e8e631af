"""Signed-in people, and what they saved to pay with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Customer:
    """A signed-in person, and his customer at Stripe once there is one.

    `asked_at` is when Stripe was first asked for him under the present key; None: it was not. `asked_long_ago`: Stripe
    may have forgotten the key.
    """

    id: UUID
    email: str | None
    stripe_attempt: int
    stripe_customer_id: str | None
    default_method: str | None
    asked_at: datetime | None
    asked_long_ago: bool


@dataclass(frozen=True, slots=True)
class Renewed:
    """A customer at Stripe whose address there is an older one; `email_version` is the number of the newest."""

    id: UUID
    stripe_customer_id: str
    email: str
    email_version: int


@dataclass(frozen=True, slots=True)
class Method:
    """A payment method as Stripe shows it. `customer` None: it belongs to nobody, or to nobody any more."""

    id: str
    customer: str | None
    type: str | None = None
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    bank_name: str | None = None
    wallet: str | None = None
    added_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """What is known of a method. `asked` and `answered` number the questions to Stripe about it."""

    method: Method
    detached: bool = False
    label: str | None = None
    asked: int = 0
    answered: int = 0


@dataclass(frozen=True, slots=True)
class LastCharge:
    """How the last charge of a method ended, for an order of that time."""

    method_id: str
    succeeded: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Addition:
    """A wish to save a method, on a page of Stripe's or in a form of the shop's."""

    id: UUID
    stripe_request: Mapping[str, Any]  # Any: Stripe's parameters, nested
    stripe_attempt: int
