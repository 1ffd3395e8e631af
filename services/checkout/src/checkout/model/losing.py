"""Payments of orders that are not here."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Taken:
    """Money that Stripe took for the order that it was told of. `refunded_minor` of it has gone back, or is on its way.
    `customer` is Stripe's, where there is one."""

    payment_intent: str
    order_id: UUID
    amount_minor: int
    currency: str
    created_at: datetime
    customer: str | None = None
    refunded_minor: int = 0

    @property
    def is_back(self) -> bool:
        """Whether nothing of it is left to give back."""
        return self.refunded_minor >= self.amount_minor


@dataclass(frozen=True, slots=True)
class Buyer:
    """Whom to write to, as far as Stripe knows."""

    email: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Money taken for an order that is not here. `asked_for`: somebody has it given back."""

    taken: Taken
    buyer: Buyer
    asked_for: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A page of them, `seen` of so many payments; `cursor` is where the next begins, None on the last."""

    lost: list[Lost]
    seen: int
    cursor: str | None
