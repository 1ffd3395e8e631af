"""What checkout says: the life of an order."""

from datetime import datetime
from typing import ClassVar, Final, Literal

from payments_shared.contracts.message import AboutOrder, CurrencyCode, Message, Minor, OrderId, Part, RefundId
from payments_shared.contracts.stripe import StripeEvent

OWNER: Final = "checkout"


class BundlePart(Part):
    """So many of one SKU are in one bundle. A `digital` one is not sent."""

    sku: str
    quantity: int
    digital: bool = False


class Line(Part):
    """One line of an order. `amount_minor` is quantity times unit, before any discount. A bundle has `parts`. Of a
    `digital` one nothing is sent: of a bundle, if all of its parts are digital."""

    sku: str
    name: str
    quantity: int
    unit_amount_minor: Minor
    amount_minor: Minor
    parts: tuple[BundlePart, ...] = ()
    digital: bool = False

    def goods(self) -> list[tuple[str, int]]:
        """SKUs and quantities that leave the shelves for this line."""
        return self.sent() + self.unsent()

    def sent(self) -> list[tuple[str, int]]:
        """Those of them that are carried to the buyer."""
        return [(sku, quantity) for sku, quantity, digital in self._pieces() if not digital]

    def unsent(self) -> list[tuple[str, int]]:
        """Those of them that are not."""
        return [(sku, quantity) for sku, quantity, digital in self._pieces() if digital]

    def _pieces(self) -> list[tuple[str, int, bool]]:
        parts = [(part.sku, part.quantity * self.quantity, part.digital) for part in self.parts]
        return parts or [(self.sku, self.quantity, self.digital)]


class Customer(Part):
    """Whom to write to. `locale` is a BCP 47 tag such as `en-US`; `account` the subject of whoever was signed in."""

    email: str
    name: str | None = None
    locale: str = "en-US"
    account: str | None = None


class Address(Part):
    """A postal address as Stripe collected it."""

    name: str | None = None
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


class ShippingOption(Part):
    """A way to ship: its code, and its name as the buyer saw it."""

    code: str
    name: str


class Payment(Part):
    """Money captured for an order by one payment intent."""

    payment_intent: str
    amount_minor: Minor
    currency: CurrencyCode


class RecoveryLink(Part):
    """What opens an order that ended to whoever was written to: `token` until `expires_at`. It does not show the order
    as its own token does; it shows its cart, and takes it up again."""

    token: str
    expires_at: datetime


class PaymentProblem(Part):
    """Why a payment failed, as the buyer may be told. `code` is stable, `advice` a sentence, and `retryable` says that
    the same card may well work. `alternatives`: `another_card`, `wallet`, `bank_debit`."""

    code: str
    advice: str
    retryable: bool
    alternatives: tuple[str, ...] = ()


class OrderPlaced(AboutOrder):
    """An order exists and waits for its payment. Stock is asked for next.

    `recovered_from` is the order that ended and whose cart this one takes up again. `store_credit_minor` of the total
    is kept of its buyer's store credit.
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
    `early_fraud_warning`, whose reason is `canceled_order`.
    """

    TYPE: ClassVar[str] = "order.refund_due.v1"

    payment_intent: str
    amount_minor: Minor
    currency: CurrencyCode
    reason: Literal["surplus_payment", "canceled_order", "amount_mismatch"]
    rule: str | None = None
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


class FetchSession(AboutOrder):
    """Command: ask Stripe for a session of the order and fold the answer as a fact.

    The session that `payment_intent` belongs to when that is given, else the order's own.
    """

    TYPE: ClassVar[str] = "checkout.cmd.fetch_session.v1"

    session_id: str | None = None
    payment_intent: str | None = None


class FetchPaymentIntent(AboutOrder):
    """Command: ask Stripe for a payment intent whose meaning is unclear and fold the answer as a fact."""

    TYPE: ClassVar[str] = "checkout.cmd.fetch_payment_intent.v1"

    payment_intent: str


class ResumeOrder(AboutOrder):
    """Command: finish an order whose session creation has an unknown outcome, with the same key."""

    TYPE: ClassVar[str] = "checkout.cmd.resume_order.v1"


class ExpireSession(AboutOrder):
    """Command: close the order's session at Stripe, since the order has ended here."""

    TYPE: ClassVar[str] = "checkout.cmd.expire_session.v1"

    session_id: str


class CancelPaymentIntent(AboutOrder):
    """Command: cancel the intent of a saved method's charge at Stripe, so that nobody can pay it any more, and fold
    what it has become as a fact."""

    TYPE: ClassVar[str] = "checkout.cmd.cancel_payment_intent.v1"

    payment_intent: str


class AbandonOrder(AboutOrder):
    """Command, delayed: if the decline is still the last word, treat the order as abandoned."""

    TYPE: ClassVar[str] = "checkout.cmd.abandon_order.v1"

    decline: str


class FindOrder(Message):
    """Command: ask Stripe which order `payment` was for, an intent or a charge, and fold what `event` says of it.

    Reviews and warnings name no order, and may be heard of before the order's intent is.
    """

    TYPE: ClassVar[str] = "checkout.cmd.find_order.v1"

    payment: str
    event: StripeEvent

    def subject(self) -> str:
        return f"payment/{self.payment}"

    def partition_key(self) -> str:
        return self.payment


class FetchPaymentMethod(Message):
    """Command: ask Stripe for a payment method of which events say different things, and take its word.

    `number` counts the askings about it: the answer to an earlier one never replaces that to a later one.
    """

    TYPE: ClassVar[str] = "checkout.cmd.fetch_payment_method.v1"

    payment_method: str
    number: int

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


EVENTS: Final = (
    OrderPlaced,
    OrderProcessing,
    OrderPaid,
    OrderPaymentFailed,
    OrderPaymentRetrying,
    OrderExpired,
    OrderCanceled,
    OrderHeld,
    OrderUnheld,
    OrderRefundDue,
    OrderCreditReturned,
    PaymentMethodExpiring,
    StoreCreditBooked,
)
COMMANDS: Final = (
    FetchSession,
    FetchPaymentIntent,
    ResumeOrder,
    ExpireSession,
    CancelPaymentIntent,
    AbandonOrder,
    FetchPaymentMethod,
    FindOrder,
)
