"""Everything that proves a disputed payment, as one document. `schema_version` changes when a member changes its
meaning or goes; members are added without that."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Minor = Annotated[int, Field(ge=0, description="Minor units of the currency beside it.")]
CurrencyCode = Annotated[str, Field(pattern=r"^[a-z]{3}$", description="ISO 4217 in lower case.")]
Moment = Annotated[str, Field(pattern=r"Z$", json_schema_extra={"format": "date-time"})]


class Document(BaseModel):
    """A part of the pack. What a newer release added is passed over when a kept one is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PackDispute(Document):
    """What is disputed, by Stripe's ids."""

    id: str
    charge: str
    payment_intent: str | None
    amount_minor: Minor
    currency: CurrencyCode
    reason: str
    network_reason_code: str | None
    opened_at: Moment
    due_by: Moment | None


class PackLine(Document):
    """A line of the order, before any discount."""

    sku: str
    name: str
    quantity: Annotated[int, Field(ge=1)]
    amount_minor: Minor


class PackOrder(Document):
    """What was bought, by whom, and from where: `ip_address` and `user_agent` are those of the request that placed
    it."""

    order_id: str
    placed_at: Moment | None
    paid_at: Moment
    customer_name: str | None
    customer_email: str | None
    signed_in: bool
    ip_address: str | None
    user_agent: str | None
    currency: CurrencyCode
    subtotal_minor: Minor
    discount_minor: Minor
    shipping_minor: Minor
    tax_minor: Minor
    total_minor: Minor
    lines: list[PackLine]
    shipping_address: list[str]
    shipping_option: str | None


class PackCharge(Document):
    """A payment of the order as Stripe took it. `disputed`: it is the one that is spoken of."""

    id: str
    payment_intent: str
    at: Moment
    amount_minor: Minor
    currency: CurrencyCode
    disputed: bool
    method: str
    brand: str | None
    last4: str | None
    country: str | None
    wallet: str | None
    three_d_secure: str | None
    three_d_secure_flow: str | None
    three_d_secure_version: str | None
    cvc_check: str | None
    line1_check: str | None
    postal_code_check: str | None
    network_status: str | None
    risk_level: str | None
    risk_score: int | None
    billing_name: str | None
    billing_address: list[str]


class PackParcel(Document):
    """A parcel, and how far it came."""

    shipment_id: str
    carrier: str | None
    tracking_number: str | None
    shipped_at: Moment | None
    delivered_at: Moment | None
    returned_at: Moment | None


class PackMail(Document):
    """A mail to the buyer that his mail server took."""

    kind: str
    recipient: str
    message_id: str
    at: Moment


class PackRefund(Document):
    """Money of the order that went back, or was to go back. `tender` is the payment intent that gets it, or
    `store_credit`; `at` is when the refund came to its status."""

    refund_id: str
    tender: str
    stripe_refund_id: str | None
    amount_minor: Minor
    currency: CurrencyCode
    reason: str
    status: str
    at: Moment


class PackEvent(Document):
    """One thing that happened, in words."""

    at: Moment
    what: str


class Pack(Document):
    """Everything that proves a disputed payment. `evidence` are the texts for Stripe's fields, by the reason of the
    dispute. `digest` is a hash of everything else: the same facts have the same one."""

    schema_version: Literal[1] = 1
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    dispute: PackDispute
    order: PackOrder | None
    charges: list[PackCharge]
    parcels: list[PackParcel]
    mails: list[PackMail]
    refunds: list[PackRefund]
    timeline: list[PackEvent]
    evidence: dict[str, str]
