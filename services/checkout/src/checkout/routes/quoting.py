"""The door for the question what a cart would cost."""

from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from checkout.decide.crediting import without_account
from checkout.decide.currencies import currencies_of
from checkout.handlers.limiting import Limiting
from checkout.handlers.quoting import Estimate, Quoting
from checkout.model.carts import Exchange, Quote, Wanted
from checkout.model.delivery import Offer, Way
from checkout.model.orders import Placement
from checkout.routes import shapes
from checkout.routes.counting import count
from checkout.routes.ordering import COUPON, LINES_MAX, CheckoutLine, Currency, Email
from checkout.routes.public import PRIVATE, account_email_of
from checkout.routes.public import Door as Public
from checkout.routes.shapes import OF_PRICING, RATE_LIMITS, CurrencyCode, Minor
from checkout.routes.wishes import (
    Country,
    PostalCode,
    Region,
    ShippingWish,
    UseStoreCredit,
    delivery_wish,
    tax_of_quote,
)
from payments_shared.auth import Principal, authenticate
from payments_shared.http import read_json
from payments_shared.http.operations import ANYONE, Answer, Body, Operation, Refusal, people


class QuoteRequest(BaseModel):
    """`POST /api/payments/quote`. The e-mail address tells whether a code for one customer is for this one.

    Stripe Tax knows places in some countries by `region` and `postal_code` only.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    lines: Annotated[list[CheckoutLine], Field(min_length=1, max_length=LINES_MAX)]
    coupon: Annotated[str, Field(pattern=COUPON)] | None = None
    currency: Currency | None = None
    country: Country | None = None
    region: Region | None = None
    postal_code: PostalCode | None = None
    email: Email | None = None
    shipping: ShippingWish | None = None
    use_store_credit: UseStoreCredit = False


class QuoteLine(shapes.Line):
    """A line, and what is taken off it."""

    amount_minor: Minor
    discount_minor: Minor


class WayToShip(TypedDict):
    """A way to ship, with its price and how many working days it takes."""

    option: str
    name: str
    amount_minor: Minor
    days_min: int | None
    days_max: int | None


class WayToChoose(WayToShip):
    """A way that may be chosen as `option`, and the total with it; null where Stripe Tax says what is due."""

    total_minor: Minor | None


class Objection(TypedDict):
    """Why a coupon takes nothing off."""

    code: str
    detail: str


class Verdict(TypedDict):
    """Whether the coupon applies."""

    code: str
    applies: bool
    reason: Objection | None


class QuoteShown(TypedDict):
    """What the cart would cost. `tax_minor` comes on top of the prices. `shipping` are the ways to ship that Stripe's
    page would offer, that of the total first; `ways` all that reach the destination and may be chosen, whatever
    `option` was given, the cheapest first. Both are null where nothing is shipped."""

    currency: CurrencyCode
    lines: Annotated[list[QuoteLine], Field(min_length=1)]
    subtotal_minor: Minor
    discount_minor: Minor
    shipping_minor: Minor
    tax_minor: Minor
    total_minor: Minor
    store_credit_minor: shapes.CreditUsed
    amount_due_minor: shapes.AmountDue
    tax: shapes.Tax
    shipping: list[WayToShip] | None
    ways: list[WayToChoose] | None
    exchange: shapes.Exchange | None
    coupon: Verdict | None


QUOTE: Final = Operation(
    method="POST",
    path="/api/payments/quote",
    id="quoteCart",
    summary="See what a cart would cost.",
    description=(
        "Items, discount, shipping, tax and total as an order of this moment would have them, equal to what Stripe "
        "will ask for. Nothing is ordered, held or used up, so no `Idempotency-Key` is needed, and a moment later "
        "another answer may be right. A coupon that does not apply is no error: its verdict says why.\n\n"
        "`ways` tells every way to ship with the total that it makes, as `option` would have it: a page that has to "
        "be opened for one way, as with tax by the shop's own table, is offered them from here.\n\n"
        "With `use_store_credit`, `store_credit_minor` of the total is paid with the customer's store credit, and "
        "Stripe charges `amount_due_minor`. That is nothing, or enough to be charged; where an address is typed on the "
        "page at least Stripe's smallest charge is left. A coupon may take off all of it, too: then nothing is due, "
        "and no page opens. What has to be sent is then ordered with one click, which says where to.\n\n"
        "A coupon for first orders, or for so many uses by one customer, is judged by the earlier orders of the "
        "caller's token, its subject and its e-mail address. Without a token no orders are looked at, so that nobody "
        "learns what somebody else has bought: such a coupon then applies here, and may be refused when the order is "
        "placed."
    ),
    callers=(ANYONE, people()),
    body=Body(
        QuoteRequest,
        {
            "lines": [{"sku": "MUG-CLAY", "quantity": 2}],
            "coupon": "WELCOME10",
            "currency": "eur",
            "shipping": {"country": "DE"},
        },
    ),
    answers=(Answer(200, "What it would cost.", QuoteShown, headers=RATE_LIMITS),),
    refusals=(*OF_PRICING, Refusal(422, "tax_location_invalid", "Stripe knows no such place.")),
)


@dataclass(frozen=True, slots=True)
class Door:
    """One route. It changes nothing, so it takes no key. `limiting` counts for the address alone: Stripe Tax is paid
    for each answer, so nobody may ask without end."""

    public: Public
    quoting: Quoting
    limiting: Limiting

    async def quote(self, request: web.Request) -> web.Response:
        """What an order of this would cost now."""
        principal = authenticate(request, self.public.people)
        body = await read_json(request, QuoteRequest)
        wanted = self._placement(body, principal, request.headers.get("Accept-Language", ""))
        async with self.public.admission.turn():
            await count(request, self.limiting, {"quotes": self.public.address_of(request)})
            found = await self.quoting.estimate(wanted)
        return web.json_response(_shown(found, body.coupon), headers=PRIVATE)

    def _placement(self, body: QuoteRequest, principal: Principal | None, languages: str) -> Placement:
        country = body.country or (body.shipping.country if body.shipping else None)
        if body.use_store_credit and principal is None:
            raise without_account()
        return Placement(
            lines=tuple(Wanted(line.sku, line.quantity) for line in body.lines),
            currencies=currencies_of(body.currency, country, languages, self.public.defaults.currency),
            coupon=body.coupon,
            email=body.email or (principal.email if principal else None) or "",
            customer_subject=principal.subject if principal else None,
            account_email=account_email_of(principal),
            locale="",
            success_path="",
            cancel_path="",
            delivery=delivery_wish(body.country, body.region, body.postal_code, body.shipping),
            use_store_credit=body.use_store_credit,
        )


def _shown(found: Estimate, coupon: str | None) -> QuoteShown:
    quote = found.quote
    return {
        "currency": quote.currency,
        "lines": _lines(quote),
        "subtotal_minor": quote.subtotal_minor,
        "discount_minor": quote.discount_minor,
        "shipping_minor": quote.shipping_minor,
        "tax_minor": quote.tax.added_minor,
        "total_minor": quote.total_minor,
        "store_credit_minor": quote.store_credit_minor,
        "amount_due_minor": quote.due_minor,
        "tax": tax_of_quote(quote.tax),
        "shipping": [_offer(offer) for offer in quote.delivery.offers] if quote.delivery else None,
        "ways": [_way(quote, way) for way in quote.delivery.ways] if quote.delivery else None,
        "exchange": _exchange(quote.exchange),
        "coupon": _verdict(found, coupon),
    }


def _lines(quote: Quote) -> list[QuoteLine]:
    return [
        {
            "sku": line.sku,
            "name": line.name,
            "quantity": line.quantity,
            "unit_amount_minor": line.unit_amount_minor,
            "digital": line.digital,
            "amount_minor": line.amount_minor,
            "discount_minor": off,
        }
        for line, off in zip(quote.lines, quote.off_minor, strict=True)
    ]


def _offer(offer: Offer) -> WayToShip:
    return {
        "option": offer.code,
        "name": offer.name,
        "amount_minor": offer.amount_minor,
        "days_min": offer.days_min,
        "days_max": offer.days_max,
    }


def _way(quote: Quote, way: Way) -> WayToChoose:
    return {**_offer(way.offer), "total_minor": quote.total_with(way)}


def _exchange(exchange: Exchange | None) -> shapes.Exchange | None:
    if exchange is None:
        return None
    return {
        "base": exchange.base,
        "rate": str(exchange.rate),
        "day": exchange.day.isoformat(),
        "source": exchange.source,
    }


def _verdict(found: Estimate, coupon: str | None) -> Verdict | None:
    if coupon is None:
        return None
    objection = found.objection
    reason: Objection | None = {"code": objection.code, "detail": objection.detail} if objection else None
    return {"code": coupon, "applies": objection is None, "reason": reason}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [QUOTE.to(door.quote)]
