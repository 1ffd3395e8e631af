"""What is known of whoever a refund has to do with, and what is suspicious about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Charge:
    """How a payment was made: `method_type` in Stripe's words; None: that is not known. `card` is a keyed hash."""

    payment_intent: str
    method_type: str | None
    charged_at: datetime
    card: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """Of so many `orders`, so many were `refunded` because a person asked for it, wholly or in part."""

    refunded: int = 0
    orders: int = 0


@dataclass(frozen=True, slots=True)
class Buyer:
    """The buyer by his address or his account: his orders of a year, and requests for him within a day, thirty days and
    ninety days. `by_operator`: those of the ninety days that this requester made."""

    rate: Rate = field(default_factory=Rate)
    day: int = 0
    month: int = 0
    quarter: int = 0
    by_operator: int = 0


@dataclass(frozen=True, slots=True)
class Operator:
    """The requester: his requests within a day and thirty days, and those of so many `peers` together in thirty."""

    day: int = 0
    month: int = 0
    peers: int = 0
    peers_month: int = 0


@dataclass(frozen=True, slots=True)
class Patterns:
    """What went before a request. `shop` and `products`, by SKU, are of ninety days. `card_buyers`: how many buyers
    paid with its card within a year, 0 where no card is known. `early_fraud_warning`: the card's bank warned of a
    payment of the order. It is read before anything is locked: it advises, and counts no money."""

    buyer: Buyer = field(default_factory=Buyer)
    operator: Operator = field(default_factory=Operator)
    shop: Rate = field(default_factory=Rate)
    products: Mapping[str, Rate] = field(default_factory=dict)
    card_buyers: int = 0
    delivered_at: datetime | None = None
    early_fraud_warning: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """One signal with its points, which may be less than 0, and the numbers that it is made of."""

    signal: str
    points: int
    detail: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """How suspicious a request is, from 0 to 100, and why."""

    score: int = 0
    reasons: tuple[Reason, ...] = ()
