"""Everything that can be learned about an order. Each fact has a key; two that say the same are one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """A session as Stripe showed it, by event or by answer. `failed`: its delayed payment failed for good.

    `chosen_way` is the place of the way to ship that the buyer chose among those that the page offered, from 0; None is
    the first as well, or that none was offered.
    """

    session_id: str
    status: str
    payment_status: str
    payment_intent: str | None = None
    currency: str | None = None
    subtotal_minor: int = 0
    discount_minor: int = 0
    tax_minor: int = 0
    shipping_minor: int = 0
    total_minor: int = 0
    failed: bool = False
    email: str | None = None
    name: str | None = None
    address: Mapping[str, str | None] | None = None
    presentment: Mapping[str, Any] | None = None  # Any: jsonb
    chosen_way: int | None = None

    @property
    def paid(self) -> bool:
        return self.payment_status == "paid" and self.status == "complete"

    @property
    def key(self) -> str:
        """What this fact asserts; two events that say the same are one fact."""
        amounts = f"{self.subtotal_minor}/{self.discount_minor}/{self.total_minor}"
        return f"session:{self.session_id}:{self.status}:{self.payment_status}:{int(self.failed)}:{amounts}"


@dataclass(frozen=True, slots=True)
class IntentSucceeded:
    """Money was captured."""

    payment_intent: str
    amount_minor: int
    currency: str
    leg: int | None = None

    @property
    def key(self) -> str:
        return f"intent:{self.payment_intent}:succeeded:{self.amount_minor}"


@dataclass(frozen=True, slots=True)
class IntentAuthorized:
    """Money may be captured. `leg`, here and below, is the part of a split payment that the intent is for, from 0."""

    payment_intent: str
    amount_minor: int
    leg: int | None = None

    @property
    def key(self) -> str:
        return f"intent:{self.payment_intent}:authorized"


@dataclass(frozen=True, slots=True)
class IntentDeclined:
    """One attempt to pay failed. `charge` tells a second decline from a repeated first one. `decline_code` and
    `advice_code` are Stripe's."""

    payment_intent: str
    charge: str
    decline_code: str | None = None
    advice_code: str | None = None
    leg: int | None = None

    @property
    def key(self) -> str:
        return f"intent:{self.payment_intent}:declined:{self.charge}"

    @property
    def asks_for_owner(self) -> bool:
        """The bank would say yes to the owner of the method: he was not there to be asked."""
        return self.decline_code == "authentication_required"


@dataclass(frozen=True, slots=True)
class IntentFetched:
    """What Stripe answered when asked about an intent that is neither succeeded nor still at work."""

    payment_intent: str
    status: str
    leg: int | None = None

    @property
    def key(self) -> str:
        return f"intent:{self.payment_intent}:fetched:{self.status}"


@dataclass(frozen=True, slots=True)
class OrderEnded:
    """We ended the order ourselves."""

    reason: str

    @property
    def key(self) -> str:
        return "canceled"


@dataclass(frozen=True, slots=True)
class EndAsked:
    """The buyer wants the order to end. It does once its session is closed, and not when it was paid before."""

    reason: str

    @property
    def key(self) -> str:
        return "end_asked"


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Some time after the decline `decline`, nothing else had happened."""

    decline: str

    @property
    def key(self) -> str:
        return f"abandoned:{self.decline}"


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The saved method is not charged again, though its bank might say yes."""

    reason: str

    @property
    def key(self) -> str:
        return "given_up"


@dataclass(frozen=True, slots=True)
class HoldEnded:
    """A person released the order, or the deadline for that passed; or a person did not wait for it."""

    released: bool
    by: str | None = None
    reason: str | None = None

    @property
    def key(self) -> str:
        return "hold:released" if self.released else "hold:lapsed"


@dataclass(frozen=True, slots=True)
class ReviewSeen:
    """Stripe has a person look at a payment. `closed` None: he has not decided; else why it was closed."""

    review: str
    payment_intent: str
    opened: str | None = None
    closed: str | None = None

    @property
    def key(self) -> str:
        return f"review:{self.review}:{self.closed or 'open'}"


@dataclass(frozen=True, slots=True)
class FraudWarned:
    """The card's bank believes that a payment was fraud. What counts is how things stood when that was heard: whether
    the goods had left, and up to which amount money was given back at once; None: none."""

    warning: str
    payment_intent: str
    fraud_type: str
    shipped: bool
    refund_up_to_minor: int | None = None

    @property
    def key(self) -> str:
        return f"early_fraud_warning:{self.warning}"


@dataclass(frozen=True, slots=True)
class HoldLifted:
    """A person lets the order go on in spite of `cause`."""

    cause: str
    by: str
    reason: str | None = None

    @property
    def key(self) -> str:
        return f"lifted:{self.cause}"


@dataclass(frozen=True, slots=True)
class OrderRefused:
    """A person gives the money of a held order back."""

    by: str
    reason: str

    @property
    def key(self) -> str:
        return "refused"


@dataclass(frozen=True, slots=True)
class CoveredByCredit:
    """Store credit that was kept for the order pays all of it, now that its stock is held."""

    @property
    def key(self) -> str:
        return "store_credit:covered"


@dataclass(frozen=True, slots=True)
class NothingDue:
    """A coupon takes all of the order off, now that its stock is held."""

    @property
    def key(self) -> str:
        return "nothing:due"


@dataclass(frozen=True, slots=True)
class StockShort:
    """What was paid for cannot be had, and all of it goes back."""

    @property
    def key(self) -> str:
        return "stock:shortfall"


Fact = (
    SessionSeen
    | IntentSucceeded
    | IntentAuthorized
    | IntentDeclined
    | IntentFetched
    | OrderEnded
    | EndAsked
    | Abandoned
    | GivenUp
    | HoldEnded
    | ReviewSeen
    | FraudWarned
    | HoldLifted
    | OrderRefused
    | CoveredByCredit
    | NothingDue
    | StockShort
)


FACT_KINDS: Mapping[str, type[Fact]] = {
    kind.__name__: kind
    for kind in (
        SessionSeen,
        IntentSucceeded,
        IntentAuthorized,
        IntentDeclined,
        IntentFetched,
        OrderEnded,
        EndAsked,
        Abandoned,
        GivenUp,
        HoldEnded,
        ReviewSeen,
        FraudWarned,
        HoldLifted,
        OrderRefused,
        CoveredByCredit,
        NothingDue,
        StockShort,
    )
}
