"""What checkout says to everybody: the life of an order, and of store credit."""

from datetime import datetime
from typing import ClassVar, Final, Literal

from payments_shared.contracts.checkout.parts import (
    Address,
    Client,
    Customer,
    Line,
    Payment,
    PaymentProblem,
    RecoveryLink,
    ShippingOption,
)
from payments_shared.contracts.message import AboutOrder, CurrencyCode, Message, Minor, OrderId, RefundId


class OrderPlaced(AboutOrder):
    """An order exists and waits for its payment. Stock is asked for next.

    `recovered_from` is the order that ended and whose cart this one takes up again. `store_credit_minor` of the total
    is kept of its buyer's store credit. `client` is absent of what the shop takes up again by itself.
    """

    TYPE: ClassVar[str] = "order.placed.v1"

    currency: CurrencyCode
    subtotal_minor: Minor
    discount_minor: Minor
    total_minor: Minor
    coupon: str | None = None
    lines: tuple[Line, ...]
    customer: Customer
    expires_at: datetime
    recovered_from: OrderId | None = None
    store_credit_minor: Minor = 0
    client: Client | None = None


class OrderProcessing(AboutOrder):
    """The buyer finished, the money is on its way: keep the stock without a deadline."""

    TYPE: ClassVar[str] = "order.processing.v1"

    payment_intent: str | None = None
    lines: tuple[Line, ...] = ()
    customer: Customer | None = None


class OrderPaid(AboutOrder):
    """The order's money is captured. Said once per order, always with the content of its paid session.

    `subtotal_minor - discount_minor + tax_minor + shipping_minor == total_minor`, and the payments and
    `store_credit_minor`, what store credit pays of it, sum to the total. If that pays all of it, or a coupon takes all
    of it off, there are no payments.
    `shipping_option` is the one that the buyer chose.
    """

    TYPE: ClassVar[str] = "order.paid.v1"

    currency: CurrencyCode
    subtotal_minor: Minor
    discount_minor: Minor
    tax_minor: Minor
    shipping_minor: Minor
    total_minor: Minor
    coupon: str | None = None
    lines: tuple[Line, ...]
    customer: Customer
    shipping_address: Address | None = None
    shipping_option: ShippingOption | None = None
    payments: tuple[Payment, ...]
    paid_at: datetime
    store_credit_minor: Minor = 0


class OrderPaymentFailed(AboutOrder):
    """A payment attempt failed.

    `final` true: a delayed payment failed for good, or a saved method was declined; release at once.
    `final` false, `abandoned` false: a decline on an open session; the hold now ends at `hold_until`.
    `final` false, `abandoned` true: `hold_until` passed and nothing else happened; release, and offer `retry_url`.
    In the first and the last case `recovery` takes the cart up again. `store_credit_minor` of the total is paid with
    store credit. `split`: two methods were to pay, so one may have been charged before the other failed;
    `returned_minor` of it, as far as is known by then, which goes back with `order.refund_due`.
    """

    TYPE: ClassVar[str] = "order.payment_failed.v1"

    final: bool
    abandoned: bool = False
    decline_code: str | None = None
    hold_until: datetime | None = None
    retry_url: str | None = None
    lines: tuple[Line, ...] = ()
    customer: Customer | None = None
    currency: CurrencyCode | None = None
    total_minor: Minor | None = None
    problem: PaymentProblem | None = None
    recovery: RecoveryLink | None = None
    store_credit_minor: Minor = 0
    split: bool = False
    returned_minor: Minor = 0


class OrderPaymentRetrying(AboutOrder):
    """A saved method was declined for now and is charged again at `next_attempt_at`, without its owner. Until then the
    order's stock is not held for it.

    `attempt` is the one that was declined, 0 for the first. `store_credit_minor` of the total is paid with store
    credit.
    """

    TYPE: ClassVar[str] = "order.payment_retrying.v1"

    attempt: int
    next_attempt_at: datetime
    lines: tuple[Line, ...] = ()
    customer: Customer | None = None
    currency: CurrencyCode | None = None
    total_minor: Minor | None = None
    problem: PaymentProblem | None = None
    store_credit_minor: Minor = 0


class OrderExpired(AboutOrder):
    """The session ended without a payment. `recovery` takes the cart up again. `store_credit_minor` of the total was
    kept of its buyer's store credit, and is his again. The total is the lines less the discount, with shipping and
    tax."""

    TYPE: ClassVar[str] = "order.expired.v1"

    customer: Customer | None = None
    lines: tuple[Line, ...] = ()
    currency: CurrencyCode | None = None
    total_minor: Minor | None = None
    recovered_from: OrderId | None = None
    recovery: RecoveryLink | None = None
    store_credit_minor: Minor = 0
    discount_minor: Minor = 0
    shipping_minor: Minor = 0
    shipping_option: ShippingOption | None = None
    tax_minor: Minor = 0


class OrderCanceled(AboutOrder):
    """The order ended: before any session was open, by the buyer's wish, or with a payment that did not match and that
    nobody released in time. Closes the order for later holds.

    `cause` says more where the closed choice of `reason` has no word: `card_testing`; and `store_credit_gone`, where
    money came after the store credit that was to pay the rest was used by others. Their reason is `superseded`.
    """

    TYPE: ClassVar[str] = "order.canceled.v1"

    reason: Literal["out_of_stock", "hold_failed", "stripe_refused", "buyer", "superseded", "amount_mismatch"]
    cause: str | None = None


class OrderHeld(AboutOrder):
    """Something about the order does not add up; nothing leaves the house until a person or a deadline decides.

    With a `cause`, somebody may be paying who is not who he says: `review:<id>` or `early_fraud_warning:<id>`, and the
    reason is `identity_conflict`. Each cause is held, and ends, on its own; an order may go on when all have ended.
    """

    TYPE: ClassVar[str] = "order.held.v1"

    reason: Literal["amount_mismatch", "currency_mismatch", "identity_conflict"]
    deadline: datetime | None = None
    cause: str | None = None


class OrderUnheld(AboutOrder):
    """The hold, or that for one `cause`, is over; without others the order goes on."""

    TYPE: ClassVar[str] = "order.unheld.v1"

    cause: str | None = None


class OrderRefundDue(AboutOrder):
    """Money was captured that this order cannot keep; give it back.

    Said once per (payment_intent, reason). `rule` takes the place of the reason where its closed choice has no word:
    `early_fraud_warning`, and `order_unknown` for a payment whose order is not here; their reason is `canceled_order`.
    The latter is said whenever somebody asks for it. `refunded_minor`: what of the amount had gone back at Stripe, or
    was on its way there.
    """

    TYPE: ClassVar[str] = "order.refund_due.v1"

    payment_intent: str
    amount_minor: Minor
    currency: CurrencyCode
    reason: Literal["surplus_payment", "canceled_order", "amount_mismatch"]
    rule: str | None = None
    refunded_minor: Minor = 0
    customer: Customer | None = None


class OrderCreditReturned(AboutOrder):
    """What of the paid order was paid with store credit is its owner's again, since its goods cannot be had. Said once.

    `charged_minor` was paid otherwise and goes back by itself.
    """

    TYPE: ClassVar[str] = "order.credit_returned.v1"

    currency: CurrencyCode
    amount_minor: Minor
    charged_minor: Minor
    customer: Customer


class OrderSoldOut(AboutOrder):
    """The goods of an order that cost nothing cannot be had, after `order.paid`. Nothing goes back, since nobody paid.
    Said once."""

    TYPE: ClassVar[str] = "order.sold_out.v1"

    lines: tuple[Line, ...]
    customer: Customer


class PaymentMethodExpiring(Message):
    """The card that a customer pays with by default is good for less than a month more. Said once for each expiry."""

    TYPE: ClassVar[str] = "payment_method.expiring.v1"

    payment_method: str
    customer: Customer
    brand: str | None = None
    last4: str | None = None
    label: str | None = None
    exp_month: int
    exp_year: int

    def subject(self) -> str:
        return f"payment_method/{self.payment_method}"

    def partition_key(self) -> str:
        return self.payment_method


class StoreCreditBooked(AboutOrder):
    """A customer has the store credit that a refund gives him."""

    TYPE: ClassVar[str] = "store_credit.booked.v1"

    refund_id: RefundId
    amount_minor: Minor
    currency: CurrencyCode


CREDIT_IS_BACK: Final = "credit_is_back"
"""Why a refund gives no store credit: checkout itself has given back what its order used."""


class StoreCreditReleased(AboutOrder):
    """What store credit paid of a paid order went back to its owner by itself, all of it and for good: nothing of it is
    to be refunded. Said once."""

    TYPE: ClassVar[str] = "store_credit.released.v1"

    amount_minor: Minor
    currency: CurrencyCode


class StoreCreditRefused(AboutOrder):
    """A refund of what store credit paid came too late: nothing is given for it, now or later. `reason`:
    `credit_is_back`."""

    TYPE: ClassVar[str] = "store_credit.refused.v1"

    refund_id: RefundId
    reason: str
