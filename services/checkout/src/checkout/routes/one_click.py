"""The door to a purchase without a page: a signed-in customer pays with a method that he saved."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, NotRequired, Self

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from typing_extensions import TypedDict

from checkout.decide.currencies import currencies_of
from checkout.model.carts import Wanted
from checkout.model.delivery import Recipient
from checkout.model.orders import OneClick, Placement
from checkout.model.splits import Part
from checkout.routes import public
from checkout.routes.methods import MethodId
from checkout.routes.ordering import COUPON, LINES_MAX, CheckoutLine, Currency, OwnPath, is_email, not_given
from checkout.routes.paging import named
from checkout.routes.public import PRIVATE, as_response
from checkout.routes.shapes import (
    OF_PLACING,
    RATE_LIMITS,
    AmountDue,
    CreditUsed,
    CurrencyCode,
    Minor,
    OrderId,
    Time,
    Url,
)
from checkout.routes.wishes import (
    OPTION,
    Country,
    PostalCode,
    Region,
    ShippingWish,
    UseStoreCredit,
    delivery_wish,
)
from payments_shared import idempotency
from payments_shared.auth import Principal, require
from payments_shared.errors import FieldError, Refused
from payments_shared.http import read_json
from payments_shared.http.operations import (
    IDEMPOTENCY_KEY,
    NOT_FOUND,
    REPLAYED,
    Answer,
    Body,
    Operation,
    Refusal,
    people,
)

ADDRESS_MAX: Final = 200

Words = Annotated[str, Field(min_length=1, max_length=ADDRESS_MAX), AfterValidator(named)]


class Parcel(BaseModel):
    """Where the goods go: what a page would ask for. Without `option` in the cheapest way."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Words
    line1: Words
    line2: Words | None = None
    city: Words | None = None
    postal_code: PostalCode | None = None
    country: Country
    region: Region | None = None
    option: Annotated[str, Field(pattern=OPTION)] | None = None

    def wish(self) -> ShippingWish:
        """The way to ship that is wanted."""
        return ShippingWish(country=self.country, region=self.region, option=self.option)

    def recipient(self) -> Recipient:
        """Who gets it."""
        return Recipient(self.name, self.line1, self.line2, self.city, self.postal_code)


CHARGE_MAX: Final = 999_999_999_999  # what Stripe charges at most in any currency


class SplitPart(BaseModel):
    """One of two methods, and how much it pays; without `amount_minor`, the rest of what is due."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    method_id: MethodId
    amount_minor: Annotated[StrictInt, Field(gt=0, le=CHARGE_MAX)] | None = None


class OneClickRequest(BaseModel):
    """`POST /api/payments/one-click`. Without `method_id` the default method pays; the address is the token's."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    lines: Annotated[list[CheckoutLine], Field(min_length=1, max_length=LINES_MAX)]
    coupon: Annotated[str, Field(pattern=COUPON)] | None = None
    currency: Currency | None = None
    country: Country | None = None
    region: Region | None = None
    locale: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] = "en-US"
    shipping: Annotated[Parcel | None, Field(description="Needed where something has to be sent.")] = None
    method_id: Annotated[MethodId | None, Field(description="The default without one.")] = None
    retry_later: Annotated[
        StrictBool, Field(description="Charge a card again by itself when its bank says no for now.")
    ] = False
    split: Annotated[
        tuple[SplitPart, SplitPart] | None,
        Field(
            description="Two cards that pay a part each of what store credit leaves, with their amounts; instead of "
            "`method_id`."
        ),
    ] = None
    return_path: Annotated[OwnPath | None, Field(description="Where the customer comes back to from his bank.")] = None
    use_store_credit: UseStoreCredit = False
    expected_total_minor: Annotated[
        StrictInt | None,
        Field(
            ge=0,
            le=CHARGE_MAX,
            description="The total that the customer was shown, with its `currency`; another one is not charged.",
        ),
    ] = None

    @model_validator(mode="after")
    def _in_its_currency(self) -> Self:
        if self.expected_total_minor is not None and self.currency is None:
            raise ValueError("expected_total_minor needs its currency")
        return self

    def asked(self) -> dict[str, object]:
        """What tells this request from others under its key. What was added after the first release is left out where
        it is not given, so that a repeat of an older request is one still."""
        return self.model_dump(
            exclude=not_given(self, ("retry_later", "shipping", "use_store_credit", "expected_total_minor", "split"))
        )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.split is not None and (self.method_id is not None or self.retry_later):
            raise ValueError("a split payment names its methods itself, and is made at once")
        return self


class PaidPart(TypedDict):
    """What one of two methods pays."""

    method_id: str
    amount_minor: Minor
    payment_intent: str | None


class ChargedOrder(TypedDict):
    """An order that is paid with a saved method, or of which nothing was left to pay: then it has no `payment_intent`.
    `client_secret`, for Stripe.js, and `action_url`, a page of his bank's, are there where the bank asks for the
    customer; `next_attempt_at` where the method is charged again."""

    order_id: OrderId
    order_token: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    status: Literal["paid", "processing", "requires_action", "retrying"]
    currency: CurrencyCode
    subtotal_minor: Minor
    discount_minor: Minor
    shipping_minor: Minor
    tax_minor: Minor
    total_minor: Minor
    store_credit_minor: NotRequired[CreditUsed]
    amount_due_minor: NotRequired[AmountDue]
    payment_intent: Annotated[str, Field(pattern=r"^pi_[A-Za-z0-9]+$")] | None
    client_secret: str | None
    action_url: Url | None
    expires_at: Time
    payments: NotRequired[Annotated[list[PaidPart], Field(description="Where two methods pay.")]]
    next_attempt_at: NotRequired[Annotated[Time | None, Field(description="Absent in answers of older releases.")]]


BUY: Final = Operation(
    method="POST",
    path="/api/payments/one-click",
    id="buyWithOneClick",
    summary="Place an order and pay it with a saved payment method.",
    description=(
        "Prices, stock and coupons are as for `createCheckoutSession`; there is no page to pay at. The method is "
        "charged without its owner. Where his bank asks for him the answer is 202: send him to `action_url`, or give "
        "`client_secret` to Stripe.js (`confirmCardPayment`). He comes back to `return_path`, to which `order_id` and "
        "Stripe's parameters are added; what became of the order is said by `getOrder` and `followOrder`. Until "
        "`expires_at` nothing else need be done; then the intent is canceled and the order ends.\n\n"
        "With `retry_later` a card that is declined only for now, as its bank says, is no end: the answer is 202, "
        "`retrying`, and the card is charged again by itself at `next_attempt_at`, and some more times after "
        "that, at the prices of the order. Until then its stock is not held. `cancelOrder` ends it; when it is "
        "given up the order has failed. Without it, or after any other decline, the answer is 402.\n\n"
        "With `split` two cards pay, the first part and the second, together what store credit leaves of the total; a "
        "quote tells it before, as `amount_due_minor`. Both are authorized first, and only then both are captured. "
        "Where one is declined, or its bank asks for its owner, neither is: the answer is 402 with the `method_id` of "
        "the one that was refused. Where that is its bank's question (`authenticate`) the same two would be refused "
        "again: charge one card alone under a new key, and its owner is asked, or open a page.\n\n"
        "The same `Idempotency-Key` with the same body gets the same answer again, marked by `Idempotency-Replayed`. "
        "After 503 repeat with the same key: nothing is charged twice.\n\n"
        "With `use_store_credit` the customer's store credit pays first. Where it pays all, or a coupon takes all off, "
        "no method is needed."
    ),
    callers=(people("customer"),),
    parameters=(IDEMPOTENCY_KEY,),
    body=Body(
        OneClickRequest,
        {"lines": [{"sku": "MUG-CLAY", "quantity": 1}], "currency": "usd", "return_path": "/success"},
    ),
    answers=(
        Answer(
            201,
            "The order is paid, or its money is on its way (`processing`).",
            ChargedOrder,
            headers=(REPLAYED, *RATE_LIMITS),
        ),
        Answer(
            202,
            "The customer's bank asks for him (`requires_action`), or the card is charged again later (`retrying`).",
            ChargedOrder,
            headers=(REPLAYED, *RATE_LIMITS),
        ),
    ),
    refusals=(
        Refusal(
            402,
            "payment_declined",
            "with the `order_id`, the `payment_problem`, as `getOrder` shows it, and of two methods the "
            "`method_id`. The order has failed; stock and "
            "coupon are given back. Another try needs another key.",
        ),
        NOT_FOUND,
        Refusal(
            409,
            "one_click_not_offered",
            "something has to be sent and no `shipping` is given, or Stripe Tax needs a page.",
        ),
        Refusal(
            409, "total_changed", "it comes to something else than `expected_total_minor`; with what, as `total_minor`."
        ),
        Refusal(409, "no_payment_method", "he saved none."),
        Refusal(409, "payment_method_expired", "the card is over."),
        Refusal(409, "payment_method_not_in_currency", "the method does not pay in the currency."),
        Refusal(409, "payment_method_not_splittable", "only cards pay a part of an order."),
        Refusal(422, "split_not_total", "the parts are not what is due; with what is, as `amount_due_minor`."),
        Refusal(
            422,
            "split_part_too_small",
            "Stripe charges no part that small, or not to that unit; with what is due, as `amount_due_minor`.",
        ),
        Refusal(422, "split_same_method", "both parts name the same method."),
        Refusal(409, "order_expired", "the order ended before it was paid."),
        *OF_PLACING,
    ),
)


@dataclass(frozen=True, slots=True)
class Door:
    """One route, beside those of `public`, which guard and count placements."""

    public: public.Door

    async def buy(self, request: web.Request) -> web.Response:
        """201 when it is paid or its money is on its way, 202 when the customer's bank asks for him; the same answer
        again under the same key."""
        key_text = idempotency.parse_key(request)
        person = require(request, self.public.people, *BUY.roles)
        body = await read_json(request, OneClickRequest)
        wanted = self._placement(body, person, request)
        owner = f"sub:{person.subject}"
        key = idempotency.Key(owner, BUY.path, key_text, idempotency.fingerprint(body.asked()))
        token = self.public.derived("token", BUY.path, owner, key_text)[:32]
        async with self.public.admission.turn():
            await self.public.count(request, owner, wanted.email)
            answer = await self.public.placing.place(wanted, key, token)
        response = as_response(answer, request["request_id"])
        response.headers.update(PRIVATE)
        return response

    def _placement(self, body: OneClickRequest, person: Principal, request: web.Request) -> Placement:
        if person.email is None or not is_email(person.email):
            raise _without_address()
        defaults, shipping = self.public.defaults, body.shipping
        country = body.country or (shipping.country if shipping else None)
        return Placement(
            lines=tuple(Wanted(line.sku, line.quantity) for line in body.lines),
            currencies=currencies_of(
                body.currency, country, request.headers.get("Accept-Language", ""), defaults.currency
            ),
            coupon=body.coupon,
            email=person.email,
            customer_subject=person.subject,
            account_email=person.email,
            locale=body.locale,
            success_path=body.return_path or defaults.success_path,
            cancel_path=defaults.cancel_path,
            delivery=delivery_wish(body.country, body.region, None, shipping.wish() if shipping else None),
            address=self.public.caller_address(request),
            client=self.public.client_of(request),
            one_click=OneClick(
                body.method_id,
                body.retry_later,
                recipient=shipping.recipient() if shipping else None,
                expected_total_minor=body.expected_total_minor,
                split=_parts(body),
            ),
            use_store_credit=body.use_store_credit,
        )


def _parts(body: OneClickRequest) -> tuple[Part, ...]:
    return tuple(Part(part.method_id, part.amount_minor) for part in body.split or ())


def _without_address() -> Refused:
    detail = "The token must name an e-mail address to write to."
    return Refused("validation_failed", detail, status=422, errors=[FieldError("", detail, "missing")])


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [BUY.to(door.buy)]
