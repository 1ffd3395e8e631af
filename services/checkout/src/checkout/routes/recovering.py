"""The buyers' way back to what they left."""

from dataclasses import dataclass
from typing import Annotated, Final, NotRequired, cast

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from checkout.decide import recovering as rules
from checkout.handlers.limiting import Limiting
from checkout.handlers.recovering import Offer, Recovering, told
from checkout.model.orders import Order
from checkout.routes.counting import count
from checkout.routes.public import PRIVATE, account_email_of, as_response, not_found
from checkout.routes.public import Door as Public
from checkout.routes.shapes import (
    BUYERS,
    OF_PLACING,
    OF_PRICING,
    ORDER_ID,
    RATE_LIMITS,
    CurrencyCode,
    Line,
    Minor,
    OrderId,
    PlacedOrder,
    ShippingChosen,
    Tax,
)
from checkout.routes.wishes import shown_tax, shown_way, tax_of_quote, way_of_quote
from payments_shared import idempotency
from payments_shared.auth import Principal, authenticate
from payments_shared.http.operations import (
    IDEMPOTENCY_KEY,
    NOT_FOUND,
    REPLAYED,
    Answer,
    Credential,
    Operation,
    Refusal,
    Scheme,
)
from payments_shared.ids import external_id

RECOVERY_TOKEN: Final = Scheme(
    "recoveryToken",
    {
        "type": "apiKey",
        "in": "header",
        "name": "Recovery-Token",
        "description": "The `token` of the link in the mail about an order that ended. Good for a week.",
    },
)


class Change(TypedDict):
    """What is different from the order that ended."""

    code: Annotated[
        str,
        Field(json_schema_extra={"enum": ["price_changed", "not_sold", "coupon_dropped", "discount_changed"]}),
    ]
    sku: NotRequired[str]
    name: NotRequired[str]
    coupon: NotRequired[str]
    before_minor: NotRequired[Minor]
    after_minor: NotRequired[Minor]


class Recovery(TypedDict):
    """The cart of an order that ended, as it would be today. `shipping` is the way that the sums are told with.
    `checkout_url` is where to pay the order that takes it up again already."""

    order_id: OrderId
    currency: CurrencyCode
    lines: Annotated[list[Line], Field(min_length=1)]
    coupon: str | None
    subtotal_minor: Minor
    discount_minor: Minor
    shipping_minor: Minor
    tax_minor: Minor
    tax: Tax
    shipping: ShippingChosen | None
    total_minor: Minor
    total_before_minor: Minor
    changes: list[Change]
    checkout_url: str | None


class RecoveredOrder(PlacedOrder):
    """A new order of an old one's cart, and what is different."""

    recovered_from: OrderId
    changes: list[Change]


WHO: Final = (*BUYERS, Credential(RECOVERY_TOKEN))
NOT_RECOVERABLE: Final = (
    Refusal(401, "recovery_expired", "the link is too old."),
    NOT_FOUND,
    Refusal(409, "order_paid", "it is, or was taken up again and is, or the payment is on its way."),
    Refusal(409, "order_not_recoverable", "it is still open, or was canceled."),
    Refusal(409, "nothing_left", "nothing of it is sold any more."),
)
OFFER: Final = Operation(
    method="GET",
    path="/api/payments/orders/{order_id}/recovery",
    id="offerRecovery",
    summary="See what an order that ended would cost today.",
    description=(
        "The cart at today's prices, without what is no longer sold and without a coupon that no longer holds; "
        "`changes` says so. Stock is asked for when the order is taken up again. `checkout_url` is set when it was, "
        "and waits for its payment."
    ),
    callers=WHO,
    parameters=(ORDER_ID,),
    answers=(Answer(200, "The cart of today.", Recovery, headers=RATE_LIMITS),),
    refusals=(*NOT_RECOVERABLE, *OF_PRICING),
)
RECOVER: Final = Operation(
    method="POST",
    path="/api/payments/orders/{order_id}/recover",
    id="recoverOrder",
    summary="Take up an order again that expired, or whose payment failed.",
    description=(
        "Makes a new order of the old one's cart, at today's prices, as `offerRecovery` shows it. The old one is over: "
        "money that still comes for it goes back. While the new one is open, its answer is given again to whoever asks."
    ),
    callers=WHO,
    parameters=(ORDER_ID, IDEMPOTENCY_KEY),
    answers=(Answer(201, "The new order waits for its payment.", RecoveredOrder, headers=(REPLAYED, *RATE_LIMITS)),),
    refusals=(*NOT_RECOVERABLE, *OF_PLACING),
)
OPERATIONS: Final = (OFFER, RECOVER)


@dataclass(frozen=True, slots=True)
class Door:
    """For whoever may see an order, and for whoever shows the token of the link that its buyer was sent. `quotes`
    counts what is only priced, for the address, together with quotes: Stripe Tax is paid for each."""

    public: Public
    recovering: Recovering
    quotes: Limiting

    async def offer(self, request: web.Request) -> web.Response:
        """The cart as it would be today, and what is different."""
        principal = authenticate(request, self.public.people)
        await count(request, self.quotes, {"quotes": self.public.address_of(request)})
        offer = await self.recovering.offer(await self._left(request, principal))
        return web.json_response(_shown(offer), headers=PRIVATE)

    async def recover(self, request: web.Request) -> web.Response:
        """201 as to a placement, with what is different; the same answer again while the new order is open."""
        key_text = idempotency.parse_key(request)
        principal = authenticate(request, self.public.people)
        order = await self._left(request, principal)
        signed_in = principal is not None and principal.subject == order.customer_subject
        owner = f"order:{order.id}"
        key = idempotency.Key(owner, RECOVER.path, key_text, idempotency.fingerprint(str(order.id)))
        async with self.public.admission.turn():
            await self.public.count(request, self.public.owner_of(order.customer_subject, order.email), order.email)
            answer = await self.recovering.recover(
                order,
                key,
                account_email=account_email_of(principal),
                signed_in=signed_in,
                address=self.public.caller_address(request),
                client=self.public.client_of(request),
            )
        return as_response(answer, request["request_id"])

    async def _left(self, request: web.Request, principal: Principal | None) -> Order:
        tokens = request.headers.getall("Recovery-Token", [])
        if not tokens:
            return await self.public.visible(request, principal)
        order = await self.public.named(request)
        if len(tokens) != 1:
            raise not_found()
        await self.recovering.check_link(tokens[0], order)
        return order


def _shown(offer: Offer) -> Recovery:
    before, quote = offer.before, offer.quote
    return {
        "order_id": external_id("ord", before.id),
        "currency": quote.currency,
        "lines": [
            {
                "sku": line.sku,
                "name": line.name,
                "quantity": line.quantity,
                "unit_amount_minor": line.unit_amount_minor,
                "digital": line.digital,
            }
            for line in quote.lines
        ],
        "coupon": quote.coupon,
        "subtotal_minor": quote.subtotal_minor,
        "discount_minor": quote.discount_minor,
        "shipping_minor": quote.shipping_minor,
        "tax_minor": quote.tax.added_minor,
        "tax": shown_tax(offer.open.tax) if offer.open else tax_of_quote(quote.tax),
        "shipping": shown_way(offer.open.shipping) if offer.open else way_of_quote(quote.delivery),
        "total_minor": quote.total_minor,
        "total_before_minor": before.total_minor,
        "changes": [_change(change) for change in offer.changes],
        "checkout_url": offer.open.stripe_session_url if offer.open else None,
    }


def _change(change: rules.Change) -> Change:
    return cast("Change", told(change))


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [OFFER.to(door.offer), RECOVER.to(door.recover)]
