"""Orders: what is wanted, what is stored, and how far each is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from checkout.model.carts import PricedLine, Wanted
from checkout.model.delivery import UNDELIVERED, DeliveryWish, Recipient
from checkout.model.options import PLAIN_PAGE, PageWish
from checkout.model.splits import Part, Split


class State(StrEnum):
    """Where the money of an order stands, from weakest to strongest."""

    PENDING = "pending"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELED = "canceled"
    PROCESSING = "processing"
    SETTLEMENT_FAILED = "settlement_failed"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is placed, by the business clock, and whether new checkouts are stopped then."""

    now: datetime
    stopped: bool


@dataclass(frozen=True, slots=True)
class Order:
    """One order as stored. `refunds` maps refund ids to (status, amount). `stripe_request` is what is sent, exactly.
    `exchange`: its prices were converted, `base`, `rate`, `day` and `source`. `presentment`: what the buyer saw where
    Stripe converted, `amount_minor` and `currency`. `recovered_from`: the order whose cart it takes up again.
    `payment_problem`: what the buyer is told of the last decline, as `decide.declines` names it. `tax`: who said what
    tax is due, and by which rates. `shipping`: the way it was priced with. Both are None on orders from before.
    `store_credit_minor` of the total is paid with store credit, and the rest by Stripe; `store_credit_state`, reserved,
    spent or released, is what became of it, None where none is used.

    `retry_seconds`: so long after each decline the saved method is charged again, in turn. `retry_attempt` is the
    attempt that is due at `retry_at`; None: none is. `split`: it is paid with two methods, of which `saved_method` and
    `stripe_payment_intent` are the first; `split_open`: something is left to do for that at Stripe.

    `digital_delivered_at`: since then what of it is not sent is its buyer's. `traceparent`: the trace in which it was
    placed, where spans were recorded.

    From `session_asked_at` on a session may exist at Stripe, also while its id is not known. An order that is paid with
    a `saved_method` has no session: all that is said of one then holds for its payment intent.
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
    recovered_from: UUID | None = None
    payment_problem: str | None = None
    tax: Mapping[str, Any] | None = None  # Any: jsonb
    shipping: Mapping[str, Any] | None = None  # Any: jsonb
    saved_method: str | None = None
    retry_seconds: Sequence[int] = ()
    retry_attempt: int = 0
    retry_at: datetime | None = None
    split: Split | None = None
    split_open: bool = False
    store_credit_minor: int = 0
    store_credit_state: str | None = None
    digital_delivered_at: datetime | None = None
    traceparent: str | None = None

    @property
    def due_minor(self) -> int:
        """What is asked of Stripe."""
        return self.total_minor - self.store_credit_minor

    @property
    def covered(self) -> bool:
        """Nothing is left to pay, since store credit pays it or a coupon takes it off: Stripe is not asked."""
        return self.due_minor == 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long nothing may be heard of an order before Stripe is asked, in seconds of business time: while a buyer may
    pay, and while his money is on its way, which takes days."""

    wait_seconds: float
    processing_wait_seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order of which nothing was heard for long, with its session, or with its intent when it has none. `lapsed`:
    that should be closed by now. `updated_at`: when it was last heard of or asked after."""

    id: UUID
    stripe_session_id: str | None
    stripe_payment_intent: str | None
    lapsed: bool
    updated_at: datetime


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
class Client:
    """From where is asked: the whole public address, None where only a proxy's is known, and what the browser called
    itself. It is said of a new order and kept nowhere here."""

    address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class OneClick:
    """A wish to pay at once with a saved method: the one named, or the default. With `retry_later` it is charged again,
    without its owner, where its bank says no for now. `recipient` gets what has to be sent. Nothing is charged that
    does not come to `expected_total_minor`, if that is given. `split`: two methods pay a part each."""

    method_id: str | None
    retry_later: bool = False
    recipient: Recipient | None = None
    expected_total_minor: int | None = None
    split: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """A request to place an order, after its form was checked. Of `currencies` the first in which everything is offered
    is taken. `account_email` is that of the signed-in buyer's token, `customer` his at Stripe, if he has one.
    `recovered_from` is the order that is taken up again, `address` from where he asks, as it is counted, and `client`
    as it is told. `success_path` and `cancel_path` are on the shop's own site, or whole URLs elsewhere that were
    checked. With `one_click` no page is opened, and `success_path` is where a bank sends its customer back to. With
    `use_store_credit` a signed-in buyer pays with his store credit first."""

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
    recovered_from: UUID | None = None
    address: str | None = None
    delivery: DeliveryWish = UNDELIVERED
    page: PageWish = PLAIN_PAGE
    one_click: OneClick | None = None
    use_store_credit: bool = False
    client: Client | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it is kept under an idempotency key."""

    status: int
    body: bytes
    replayed: bool = False
