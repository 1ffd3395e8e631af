"""Facts of checkout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID


class State(StrEnum):
    """Where the money of an order stands, from weakest to strongest."""

    PENDING = "pending"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELED = "canceled"
    PROCESSING = "processing"
    SETTLEMENT_FAILED = "settlement_failed"
    PAID = "paid"


class Switch(StrEnum):
    """What administrators may stop."""

    CHECKOUTS = "checkouts"


class Position(StrEnum):
    """Where a switch stands."""

    OPEN = "open"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Turn:
    """Who turned a switch, when and why. `reason` None: it was opened without a word."""

    state: Position
    actor: str
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is placed, by the business clock, and whether new checkouts are stopped then."""

    now: datetime
    stopped: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` requests of one subject in a window of `seconds`, which begins with the first of them."""

    name: str
    most: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests a window has seen, and how long it lasts."""

    name: str
    taken: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit, until it begins anew in `reset_seconds`."""

    limit: Limit
    remaining: int
    reset_seconds: int
    exceeded: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A line that a buyer asks for."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Price:
    """A product and what one costs in one currency, and in the shop's own (`base_amount_minor`); None: not offered in
    it. `parts` are the SKUs and quantities that one of it consists of, if it is a bundle."""

    sku: str
    name: str
    active: bool
    tax_code: str | None
    unit_amount_minor: int | None
    parts: Mapping[str, int]
    base_amount_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Coupon:
    """A coupon and its uses. Exactly one of `percent_basis_points` and `amounts_off` (by currency) is set.

    `skus` are the products that it takes something off; None means all.
    """

    code: str
    percent_basis_points: int | None
    amounts_off: Mapping[str, int] | None
    minimums: Mapping[str, int] = field(default_factory=dict)
    max_redemptions: int | None = None
    per_customer: int | None = None
    first_order_only: bool = False
    skus: Sequence[str] | None = None
    active: bool = True
    held: int = 0
    redeemed: int = 0
    valid_from: datetime | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a customer stands to a coupon: `uses` of it that count, `first_order_uses` of all that are for a first order,
    and whether he has ordered before."""

    uses: int = 0
    first_order_uses: int = 0
    has_ordered: bool = False


@dataclass(frozen=True, slots=True)
class Cart:
    """What a customer wants, one line per SKU, with his coupon and how he stands to it. `now` is the business clock."""

    lines: tuple[Wanted, ...]
    coupon: Coupon | None
    standing: Standing
    now: datetime


@dataclass(frozen=True, slots=True)
class PricedLine:
    """A line at the price of the catalogue. `parts` are what one of it consists of, if it is a bundle."""

    sku: str
    name: str
    quantity: int
    unit_amount_minor: int
    tax_code: str | None = None
    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def amount_minor(self) -> int:
        return self.quantity * self.unit_amount_minor


@dataclass(frozen=True, slots=True)
class Rates:
    """What one euro was worth on `day`, by currency, as `source` published it."""

    day: date
    source: str
    per_euro: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Exchange:
    """How prices in `base` became prices in another currency: at `rate`, published for `day` by `source`."""

    base: str
    rate: Decimal
    day: date
    source: str


@dataclass(frozen=True, slots=True)
class Quote:
    """What a cart costs, before tax and shipping. `exchange`: some of its prices were converted."""

    currency: str
    lines: tuple[PricedLine, ...]
    subtotal_minor: int
    discount_minor: int
    coupon: str | None = None
    exchange: Exchange | None = None

    @property
    def total_minor(self) -> int:
        return self.subtotal_minor - self.discount_minor


@dataclass(frozen=True, slots=True)
class Order:
    """One order as stored. `refunds` maps refund ids to (status, amount). `stripe_request` is what is sent, exactly.
    `exchange`: its prices were converted, `base`, `rate`, `day` and `source`. `presentment`: what the buyer saw where
    Stripe converted, `amount_minor` and `currency`.

    From `session_asked_at` on a session may exist at Stripe, also while its id is not known.
    """

    id: UUID
    state: State
    held_reason: str | None
    held_until: datetime | None
    dishonoured: bool
    currency: str
    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    shipping_minor: int
    total_minor: int
    coupon: str | None
    lines: tuple[PricedLine, ...]
    email: str
    customer_subject: str | None
    locale: str
    token_hash: bytes
    stripe_request: Mapping[str, Any]  # Any: Stripe's parameters, nested
    stripe_attempt: int
    stripe_session_id: str | None
    stripe_session_url: str | None
    stripe_payment_intent: str | None
    shipment_id: UUID | None
    shipment_status: str | None
    refunds: Mapping[str, Mapping[str, Any]]  # Any: jsonb
    expires_at: datetime
    paid_at: datetime | None
    version: int
    created_at: datetime
    session_asked_at: datetime | None = None
    exchange: Mapping[str, str] | None = None
    presentment: Mapping[str, Any] | None = None  # Any: jsonb


# -- facts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Patience:
    """How long nothing may be heard of an order before Stripe is asked, in seconds of business time: while a buyer may
    pay, and while his money is on its way, which takes days."""

    wait_seconds: float
    processing_wait_seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order of which nothing was heard for long. `lapsed`: its session should be closed by now. `updated_at`: when
    it was last heard of or asked after."""

    id: UUID
    stripe_session_id: str
    lapsed: bool
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """A session as Stripe showed it, by event or by answer. `failed`: its delayed payment failed for good."""

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

    @property
    def key(self) -> str:
        return f"intent:{self.payment_intent}:succeeded:{self.amount_minor}"


@dataclass(frozen=True, slots=True)
class IntentDeclined:
    """One attempt to pay failed. `charge` tells a second decline from a repeated first one."""

    payment_intent: str
    charge: str
    decline_code: str | None = None

    @property
    def key(self) -> str:
        return f"intent:{self.payment_intent}:declined:{self.charge}"


@dataclass(frozen=True, slots=True)
class IntentFetched:
    """What Stripe answered when asked about an intent that is neither succeeded nor still at work."""

    payment_intent: str
    status: str

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
class HoldEnded:
    """A person released the order, or the deadline for that passed."""

    released: bool

    @property
    def key(self) -> str:
        return "hold:released" if self.released else "hold:lapsed"


Fact = SessionSeen | IntentSucceeded | IntentDeclined | IntentFetched | OrderEnded | EndAsked | Abandoned | HoldEnded

FACT_KINDS: Mapping[str, type[Fact]] = {
    kind.__name__: kind
    for kind in (
        SessionSeen,
        IntentSucceeded,
        IntentDeclined,
        IntentFetched,
        OrderEnded,
        EndAsked,
        Abandoned,
        HoldEnded,
    )
}


@dataclass(frozen=True, slots=True)
class Step:
    """A line of an order's history."""

    order_id: UUID
    before: State
    after: State


@dataclass(frozen=True, slots=True)
class Saying:
    """The message with which something about an order was said; the key tells what."""

    order_id: UUID
    key: str
    message_id: UUID


@dataclass(frozen=True, slots=True)
class Redemption:
    """An order's use of a coupon: held, redeemed, released, or honoured although no use was left."""

    order_id: UUID
    code: str
    state: str


@dataclass(frozen=True, slots=True)
class Customer:
    """A signed-in person, and his customer at Stripe once there is one. `asked_long_ago`: Stripe may have forgotten the
    key under which it was asked for him."""

    id: UUID
    email: str | None
    stripe_attempt: int
    stripe_customer_id: str | None
    default_method: str | None
    asked_at: datetime
    asked_long_ago: bool


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
class Addition:
    """A wish to save a method, on a page of Stripe's or in a form of the shop's."""

    id: UUID
    stripe_request: Mapping[str, Any]  # Any: Stripe's parameters, nested
    stripe_attempt: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A request to place an order, after its form was checked. Of `currencies` the first in which everything is offered
    is taken. `account_email` is that of the signed-in buyer's token, `customer` his at Stripe, if he has one."""

    lines: tuple[Wanted, ...]
    currencies: tuple[str, ...]
    coupon: str | None
    email: str
    customer_subject: str | None
    account_email: str | None
    locale: str
    success_path: str
    cancel_path: str
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it is kept under an idempotency key."""

    status: int
    body: bytes
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """A product with all its prices, for administrators. With `parts` it is a bundle."""

    sku: str
    name: str
    description: str
    image: str
    active: bool
    tax_code: str | None
    prices: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Import:
    """A catalogue file on its way in. `refused` counts rows that were wrong; `outcome` None: it is still open."""

    id: UUID
    actor: str
    columns: list[str]
    refused: int
    outcome: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """How many products an import creates, changes and leaves as they are."""

    created: int
    changed: int
    unchanged: int
