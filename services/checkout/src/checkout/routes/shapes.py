"""What buyers are answered, as JSON, and the parts that their operations have in common."""

from typing import Annotated, Final, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from checkout.decide.declines import Problem
from payments_shared.http.operations import (
    DATABASE_AWAY,
    PEOPLE,
    RETRY_AFTER,
    Credential,
    Header,
    Parameter,
    Refusal,
    Scheme,
)

OrderId = Annotated[str, Field(pattern=r"^ord_[0-9a-f]{32}$")]
CurrencyCode = Annotated[str, Field(pattern=r"^[a-z]{3}$", description="ISO 4217 in lower case.")]
Minor = Annotated[int, Field(ge=0, description="Minor units of the currency beside it.")]
Time = Annotated[str, Field(pattern=r"Z$", json_schema_extra={"format": "date-time"})]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]

CreditUsed = Annotated[int, Field(ge=0, description="What of the total store credit pays.")]
AmountDue = Annotated[int, Field(ge=0, description="What is left of the total for Stripe to charge.")]

Status = Literal["pending", "processing", "paid", "failed", "expired", "canceled"]


class PlacedOrder(TypedDict):
    """An order that waits for its payment, or of which nothing is left to pay. `order_token` shows the order to whoever
    holds it; `checkout_url` is where to send the buyer: to Stripe's page, and when the order is `paid` to the shop's
    own, where he would have come back to from there."""

    order_id: OrderId
    order_token: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    status: Literal["pending", "paid"]
    currency: CurrencyCode
    subtotal_minor: Minor
    discount_minor: Minor
    shipping_minor: NotRequired[Annotated[Minor, Field(description="Absent in answers of older releases.")]]
    tax_minor: NotRequired[Minor]
    total_minor: Minor
    store_credit_minor: NotRequired[CreditUsed]
    amount_due_minor: NotRequired[AmountDue]
    checkout_url: Url
    expires_at: Time


class Line(TypedDict):
    """A line of an order. `digital`: nothing of it is sent."""

    sku: str
    name: str
    quantity: Annotated[int, Field(ge=1)]
    unit_amount_minor: Minor
    digital: bool


class Shipment(TypedDict):
    """Where the parcel is."""

    id: Annotated[str, Field(pattern=r"^shp_[0-9a-f]{32}$")]
    status: Annotated[
        str, Field(json_schema_extra={"enum": ["created", "shipped", "delivered", "canceled", "returned"]})
    ]


class Exchange(TypedDict):
    """By what rate prices were converted, where the catalogue names none in this currency. `rate` is units of the
    order's currency for one of `base`."""

    base: CurrencyCode
    rate: Annotated[str, Field(pattern=r"^[0-9.E+-]+$")]
    day: Annotated[str, Field(json_schema_extra={"format": "date"})]
    source: str


class Presentment(TypedDict):
    """What the buyer saw, where Stripe converted on its page."""

    amount_minor: Minor
    currency: CurrencyCode


class TaxRateShown(TypedDict):
    """What one rate makes of an order."""

    name: str
    percent: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")]
    inclusive: bool
    amount_minor: Minor


class Tax(TypedDict):
    """Who said what tax is due: nobody, the shop's own table, or Stripe. `included_minor` is in the prices already.
    `elsewhere`: the goods go to another place than the tax by the table was counted for."""

    source: Annotated[str, Field(json_schema_extra={"enum": ["none", "table", "stripe"]})]
    included_minor: Minor
    elsewhere: bool
    rates: list[TaxRateShown]


class ShippingChosen(TypedDict):
    """The way to ship that the buyer chose."""

    option: str | None
    name: str | None


class CreditOnOrder(TypedDict):
    """What of the total store credit pays: `reserved` while the order is open, `spent` once it is paid, `released` when
    it went back to its owner."""

    amount_minor: Minor
    status: Annotated[str, Field(json_schema_extra={"enum": ["reserved", "spent", "released"]})]


class PaymentProblem(TypedDict):
    """Why the last payment failed, as the buyer may be told. `advice` is a sentence to show; `retryable`: the same card
    may well work."""

    code: Problem
    advice: str
    retryable: bool
    alternatives: list[Annotated[str, Field(json_schema_extra={"enum": ["another_card", "wallet", "bank_debit"]})]]


class Order(TypedDict):
    """An order as its buyer sees it. `held`: paid, and kept back until somebody has looked at it. `checkout_url` is
    where to pay while that is possible."""

    order_id: OrderId
    status: Status
    held: bool
    currency: CurrencyCode
    subtotal_minor: Minor
    discount_minor: Minor
    tax_minor: Minor
    shipping_minor: Minor
    total_minor: Minor
    store_credit: CreditOnOrder | None
    amount_due_minor: AmountDue
    tax: Tax
    shipping: ShippingChosen | None
    metadata: Annotated[dict[str, str], Field(description="What the shop gave.")]
    lines: Annotated[list[Line], Field(min_length=1)]
    email_masked: Annotated[str, Field(pattern=r"^.?•••@")]
    shipment: Shipment | None
    digital_delivered_at: Annotated[
        Time | None, Field(description="Since when what of it is not sent is the buyer's, who may be given access.")
    ]
    refunded_minor: Minor
    payment_problem: Annotated[PaymentProblem | None, Field(description="Null once it is paid or canceled.")]
    recovered_from: Annotated[OrderId | None, Field(description="The order whose cart this one takes up again.")]
    exchange: Exchange | None
    presentment: Presentment | None
    created_at: Time
    paid_at: Time | None
    expires_at: Time
    next_attempt_at: Annotated[Time | None, Field(description="When its saved method, declined, is charged again.")]
    checkout_url: str | None


class Orders(TypedDict):
    """A page of orders. `next_cursor` is null on the last one."""

    orders: list[Order]
    next_cursor: OrderId | None


class Ticket(TypedDict):
    """Where an EventSource may follow an order, and until when it is let in."""

    path: Annotated[str, Field(pattern=r"^/api/payments/orders/ord_[0-9a-f]{32}/events\?ticket=[0-9a-f.]+$")]
    expires_at: Time


ORDER_TOKEN: Final = Scheme(
    "orderToken",
    {
        "type": "apiKey",
        "in": "header",
        "name": "Order-Token",
        "description": "The `order_token` of the answer to the guest who placed the order.",
    },
)
TICKET: Final = Scheme(
    "eventsTicket",
    {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "Part of the `path` that `createEventsTicket` answers.",
    },
)
BUYERS: Final = (Credential(ORDER_TOKEN), Credential(PEOPLE))
ORDER_ID: Final = Parameter("order_id", "path", "The order.", OrderId)

RATE_LIMITS: Final = (
    Header(
        "RateLimit",
        "What is left of each limit: `r` requests, for `t` seconds. With every answer to a request that was counted, "
        "the refusals too.",
        Annotated[
            str,
            Field(pattern=r'^"[a-z]+";r=[0-9]+;t=[0-9]+(, "[a-z]+";r=[0-9]+;t=[0-9]+)*$'),
        ],
    ),
    Header(
        "RateLimit-Policy",
        "The limits, `q` requests in `w` seconds.",
        Annotated[
            str,
            Field(pattern=r'^"[a-z]+";q=[0-9]+;w=[0-9]+(, "[a-z]+";q=[0-9]+;w=[0-9]+)*$'),
        ],
    ),
)
RATE_LIMITED: Final = Refusal(
    429,
    "rate_limited",
    "too much was asked for by this address, this customer, or with this e-mail address.",
    (*RATE_LIMITS, RETRY_AFTER),
)
TOO_MANY_CARDS: Final = Refusal(
    429,
    "velocity_exceeded",
    "too many cards were declined for this buyer, or from this address.",
    (*RATE_LIMITS, RETRY_AFTER),
)
TOO_MANY_OPEN: Final = Refusal(
    429,
    "too_many_open_orders",
    "too many orders of this buyer, or of guests at this address, wait for their payment.",
    (*RATE_LIMITS, RETRY_AFTER),
)
STRIPE_REFUSED: Final = Refusal(502, "stripe_refused", "Stripe refused for good.")
STRIPE_AWAY: Final = Refusal(
    503,
    "stripe_unavailable",
    "Stripe does not answer; try again, with the same key where there is one.",
    (RETRY_AFTER,),
)
IN_PROGRESS: Final = Refusal(
    503, "order_in_progress", "the order is being placed; ask again in a moment.", (RETRY_AFTER,)
)
OF_PRICING: Final = (
    Refusal(422, "unknown_sku", "there is no such product, or it is not sold."),
    Refusal(422, "currency_not_offered", "a product has no price in the currency."),
    Refusal(422, "rate_too_old", "no recent rate is known by which prices could be converted."),
    Refusal(422, "cart_too_large", "the cart is too large to be packed as one order."),
    Refusal(422, "total_too_small", "Stripe charges no amount that small; nothing at all is another matter."),
    Refusal(422, "total_too_large", "the total is beyond what may be charged at once."),
    Refusal(422, "shipping_country_not_served", "nothing is shipped there."),
    Refusal(422, "shipping_not_offered", "there is no such way to ship, or not for this cart."),
    Refusal(422, "country_needed", "what it costs depends on the country."),
    Refusal(422, "region_needed", "what it costs depends on the region."),
    Refusal(409, "store_credit_not_offered", "Stripe Tax finds the tax of what is charged on its page."),
    Refusal(422, "sign_in_needed", "store credit is for customers who are signed in."),
    Refusal(422, "region_not_listed", "the shop's table of tax rates has other regions of the country, and not this."),
    Refusal(503, "busy", "too many are asking at once.", (RETRY_AFTER,)),
    STRIPE_AWAY,
    RATE_LIMITED,
    DATABASE_AWAY,
)
OF_PLACING: Final = (
    *OF_PRICING,
    Refusal(409, "out_of_stock", "some lines cannot be had; `available` says how much of each there is."),
    Refusal(409, "reservation_closed", "the order ended while its stock was asked for."),
    Refusal(409, "reservation_differs", "inventory holds other lines for the order."),
    Refusal(409, "coupon_exhausted", "the coupon has no use left."),
    Refusal(409, "coupon_used", "this customer has no use of the coupon left."),
    Refusal(409, "order_canceled", "the order was canceled before it could be paid."),
    Refusal(422, "coupon_invalid", "there is no such coupon, or it is not for this cart."),
    Refusal(422, "coupon_not_in_currency", "the coupon takes nothing off in the currency."),
    Refusal(422, "address_needed", "nothing is left to pay, so no page asks where to send it; one click says it."),
    Refusal(422, "return_url_not_allowed", "buyers are not sent back there."),
    Refusal(422, "expiry_out_of_range", "a page does not live that briefly, or that long."),
    Refusal(503, "inventory_unavailable", "stock could not be checked.", (RETRY_AFTER,)),
    Refusal(503, "order_moved_on", "another request brings the order to its page.", (RETRY_AFTER,)),
    Refusal(503, "checkouts_stopped", "no new orders are taken at the moment.", (RETRY_AFTER,)),
    TOO_MANY_CARDS,
    TOO_MANY_OPEN,
    IN_PROGRESS,
    STRIPE_REFUSED,
)
