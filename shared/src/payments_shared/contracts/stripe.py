"""Stripe's events as they cross the broker, and the parts of its objects that we read.

The objects keep only fields a decision reads; everything else of the event stays in webhook-ingest's store.
Source: Stripe API reference, version in `payments_shared.stripe_client`.
"""

from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from payments_shared.contracts.message import CurrencyCode, Message

OWNER: Final = "webhook-ingest"
PREFIX: Final = "stripe."

CHECKOUT_SESSION_TYPES: Final = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
)
PAYMENT_INTENT_TYPES: Final = (
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
)
SETUP_INTENT_TYPES: Final = ("setup_intent.succeeded", "setup_intent.setup_failed")
PAYMENT_METHOD_TYPES: Final = (
    "payment_method.attached",
    "payment_method.updated",
    "payment_method.automatically_updated",
    "payment_method.detached",
)
CUSTOMER_TYPES: Final = ("customer.deleted",)
CHARGED_TYPES: Final = ("charge.succeeded",)
CHARGE_TYPES: Final = (*CHARGED_TYPES, "charge.failed")
REFUND_TYPES: Final = ("refund.created", "refund.updated", "refund.failed")
REFUNDED_TYPES: Final = ("charge.refunded",)
DISPUTE_TYPES: Final = (
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
REVIEW_TYPES: Final = ("review.opened", "review.closed")
WARNING_TYPES: Final = ("radar.early_fraud_warning.created",)
CHANGED_WARNING_TYPES: Final = ("radar.early_fraud_warning.updated",)
TOLD_REFUNDS: Final = REFUND_TYPES + REFUNDED_TYPES + DISPUTE_TYPES + CHANGED_WARNING_TYPES
"""What refunds alone hears."""
EVENT_TYPES: Final = (
    CHECKOUT_SESSION_TYPES
    + PAYMENT_INTENT_TYPES
    + SETUP_INTENT_TYPES
    + PAYMENT_METHOD_TYPES
    + CUSTOMER_TYPES
    + CHARGE_TYPES
    + REFUND_TYPES
    + REFUNDED_TYPES
    + DISPUTE_TYPES
    + REVIEW_TYPES
    + WARNING_TYPES
    + CHANGED_WARNING_TYPES
)
"""The Stripe types that somebody hears; every other type is stored as `ignored`."""


class StripeObject(BaseModel):
    """A part of Stripe's API object; unknown fields are tolerated, as Stripe asks."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class EventData(StripeObject):
    """`object` is untyped here; its reader chooses the model by the event's type."""

    object: dict[str, Any]  # Any: the shape is Stripe's and depends on the type


class StripeEvent(Message):
    """One Stripe event. The message type is `stripe.` plus Stripe's own."""

    TYPE: ClassVar[str] = "stripe.*"

    id: str
    type: str
    created: int
    livemode: bool
    api_version: str | None = None
    account: str | None = None
    data: EventData

    def subject(self) -> str:
        return f"stripe_event/{self.id}"

    def partition_key(self) -> str:
        return partition_key(self.data.object)


class SessionTotals(StripeObject):
    amount_discount: int = 0
    amount_shipping: int | None = 0
    amount_tax: int = 0


class PostalAddress(StripeObject):
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


class CustomerDetails(StripeObject):
    email: str | None = None
    name: str | None = None
    address: PostalAddress | None = None


class ShippingDetails(StripeObject):
    name: str | None = None
    address: PostalAddress | None = None


class CollectedInformation(StripeObject):
    shipping_details: ShippingDetails | None = None


class ShippingCost(StripeObject):
    """The rate of the way to ship that the buyer chose."""

    shipping_rate: str | None = None


class OfferedRate(StripeObject):
    """A way to ship that the page offers."""

    shipping_rate: str | None = None


class PresentmentDetails(StripeObject):
    """What the buyer saw, where Stripe converted: minor units of that currency."""

    presentment_amount: int
    presentment_currency: CurrencyCode


class CheckoutSession(StripeObject):
    """`status` open, complete or expired; `payment_status` paid, unpaid or no_payment_required. A session of `mode`
    setup is for no order: it saves a payment method. `shipping_options` stand in the order of the request."""

    id: str
    mode: str | None = None
    status: str | None = None
    payment_status: str
    client_reference_id: str | None = None
    payment_intent: str | None = None
    currency: CurrencyCode | None = None
    amount_subtotal: int | None = None
    amount_total: int | None = None
    total_details: SessionTotals | None = None
    customer_details: CustomerDetails | None = None
    presentment_details: PresentmentDetails | None = None
    collected_information: CollectedInformation | None = None
    shipping_cost: ShippingCost | None = None
    shipping_options: list[OfferedRate] | None = None
    metadata: dict[str, str] | None = None
    url: str | None = None
    expires_at: int | None = None


class PaymentError(StripeObject):
    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    message: str | None = None


class Redirect(StripeObject):
    url: str | None = None


class NextAction(StripeObject):
    """What the buyer must do; `redirect_to_url` where that is to visit a page of his bank's."""

    type: str
    redirect_to_url: Redirect | None = None


class PaymentIntent(StripeObject):
    """`status` as Stripe names it; amounts are minor units of `currency`."""

    id: str
    status: str
    amount: int
    amount_received: int = 0
    currency: CurrencyCode
    latest_charge: str | None = None
    last_payment_error: PaymentError | None = None
    client_secret: str | None = None
    next_action: NextAction | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class ChargeOutcome(StripeObject):
    """What the network and Radar made of an attempt. `risk_score` goes from 0 to 100; `rule` is the id of the rule that
    decided."""

    type: str | None = None
    network_status: str | None = None
    reason: str | None = None
    risk_level: str | None = None
    risk_score: int | None = None
    rule: str | dict[str, Any] | None = None  # Any: the rule, where Stripe shows it whole
    seller_message: str | None = None


class ChargedCard(StripeObject):
    """The fingerprint is the same for every use of a number; it is only ever kept as a keyed hash."""

    fingerprint: str | None = None


class ChargedMethod(StripeObject):
    """`type` of the payment method, such as `card` or `sepa_debit`."""

    type: str | None = None
    card: ChargedCard | None = None


class Charge(StripeObject):
    """One attempt to take money; `status` succeeded, pending or failed. `failure_code` is of what failed."""

    id: str
    status: str
    failure_code: str | None = None
    created: int = Field(ge=0, le=2**40)
    payment_intent: str | None = None
    outcome: ChargeOutcome | None = None
    payment_method_details: ChargedMethod | None = None
    amount_refunded: int = 0
    metadata: dict[str, str] = Field(default_factory=dict)


class RefundDisplayDetails(StripeObject):
    """Until when, in Unix seconds, the buyer can say where his money goes, which Stripe asked him by e-mail."""

    expires_at: int | None = Field(default=None, ge=0, le=2**40)


class RefundNextAction(StripeObject):
    """What a refund that requires action waits for."""

    type: str
    display_details: RefundDisplayDetails | None = None


class Refund(StripeObject):
    """Money on its way back; `status` pending, requires_action, succeeded, failed or canceled. `pending_reason`
    processing, insufficient_funds or charge_pending."""

    id: str
    payment_intent: str | None = None
    amount: int
    currency: CurrencyCode
    status: str | None = None
    failure_reason: str | None = None
    pending_reason: str | None = None
    next_action: RefundNextAction | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class Review(StripeObject):
    """A person looks at a payment. `closed_reason` None: he has not decided."""

    id: str
    opened_reason: str | None = None
    closed_reason: str | None = None
    payment_intent: str | None = None
    charge: str | None = None


class EarlyFraudWarning(StripeObject):
    """The card's bank believes that a payment was fraud; a dispute may follow. `actionable`: it was neither refunded
    nor disputed then."""

    id: str
    fraud_type: str
    charge: str
    payment_intent: str | None = None
    actionable: bool = True


class Dispute(StripeObject):
    """A buyer's bank asks for money back. An event only says that there is something to ask after."""

    id: str
    payment_intent: str | None = None


class SetupError(PaymentError):
    """Why an attempt to make a payment method ready failed, with the method that was tried."""

    payment_method: ChargedMethod | None = None


class SetupIntent(StripeObject):
    """A payment method that was made ready for later payments, or is to be: one intent may see many attempts, of which
    `latest_attempt` names the last."""

    id: str
    status: str
    customer: str | None = None
    payment_method: str | None = None
    latest_attempt: str | None = None
    last_setup_error: SetupError | None = None


class CardWallet(StripeObject):
    type: str


class Card(StripeObject):
    """What may be shown of a card. Its fingerprint is never read."""

    brand: str
    last4: str
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=1970, le=9999)
    wallet: CardWallet | None = None


class BankAccount(StripeObject):
    """What may be shown of an account that is debited."""

    last4: str | None = None
    bank_name: str | None = None


class PaymentMethod(StripeObject):
    """`customer` None: it belongs to nobody, or to nobody any more. Of the details the one that `type` names is set."""

    id: str
    type: str
    customer: str | None = None
    created: int = Field(ge=0, le=2**40)
    card: Card | None = None
    sepa_debit: BankAccount | None = None
    us_bank_account: BankAccount | None = None
    bacs_debit: BankAccount | None = None
    acss_debit: BankAccount | None = None
    au_becs_debit: BankAccount | None = None


class Customer(StripeObject):
    id: str


def message_type(stripe_type: str) -> str:
    """The message type of a Stripe event type."""
    return PREFIX + stripe_type


def partition_key(stripe_object: dict[str, Any]) -> str:  # Any: Stripe's own shape
    """The first present of `client_reference_id`, `metadata.order_id`, the payment intent, the object's own id.

    What no terminal could show is as good as absent.
    """
    metadata = stripe_object.get("metadata")
    for value in (
        stripe_object.get("client_reference_id"),
        metadata.get("order_id") if isinstance(metadata, dict) else None,
        stripe_object.get("payment_intent"),
        stripe_object.get("id"),
    ):
        if isinstance(value, str) and value and value.isprintable():
            return value
    return "unkeyed"
