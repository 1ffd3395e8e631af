"""The buyers' way back to what they left."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from checkout.handlers.recovering import Offer, Recovering, told
from checkout.model.orders import Order
from checkout.routes.public import PRIVATE, account_email_of, as_response, not_found
from checkout.routes.public import Door as Public
from payments_shared import idempotency
from payments_shared.auth import authenticate
from payments_shared.ids import external_id

OFFER_PATH: Final = "/api/payments/orders/{order_id}/recovery"
RECOVER_PATH: Final = "/api/payments/orders/{order_id}/recover"


@dataclass(frozen=True, slots=True)
class Door:
    """For whoever may see an order, and for whoever shows the token of the link that its buyer was sent."""

    public: Public
    recovering: Recovering

    async def offer(self, request: web.Request) -> web.Response:
        """The cart as it would be today, and what is different."""
        offer = await self.recovering.offer(await self._left(request))
        return web.json_response(_shown(offer), headers=PRIVATE)

    async def recover(self, request: web.Request) -> web.Response:
        """201 as to a placement, with what is different; the same answer again while the new order is open."""
        key_text = idempotency.parse_key(request)
        order = await self._left(request)
        principal = authenticate(request, self.public.people)
        signed_in = principal is not None and principal.subject == order.customer_subject
        owner = f"order:{order.id}"
        key = idempotency.Key(owner, RECOVER_PATH, key_text, idempotency.fingerprint(str(order.id)))
        async with self.public.admission.turn():
            await self.public.count(request, self.public.owner_of(order.customer_subject, order.email), order.email)
            answer = await self.recovering.recover(
                order, key, account_email=account_email_of(principal), signed_in=signed_in
            )
        return as_response(answer, request["request_id"])

    async def _left(self, request: web.Request) -> Order:
        tokens = request.headers.getall("Recovery-Token", [])
        if not tokens:
            return await self.public.visible(request)
        order = await self.public.named(request)
        if len(tokens) != 1:
            raise not_found()
        await self.recovering.check_link(tokens[0], order)
        return order


def _shown(offer: Offer) -> dict[str, object]:
    before, quote = offer.before, offer.quote
    return {
        "order_id": external_id("ord", before.id),
        "currency": quote.currency,
        "lines": [
            {"sku": line.sku, "name": line.name, "quantity": line.quantity, "unit_amount_minor": line.unit_amount_minor}
            for line in quote.lines
        ],
        "coupon": quote.coupon,
        "subtotal_minor": quote.subtotal_minor,
        "discount_minor": quote.discount_minor,
        "shipping_minor": quote.shipping_minor,
        "tax_minor": quote.tax.added_minor,
        "total_minor": quote.total_minor,
        "total_before_minor": before.total_minor,
        "changes": [told(change) for change in offer.changes],
        "checkout_url": offer.open.stripe_session_url if offer.open else None,
    }


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [web.get(OFFER_PATH, door.offer), web.post(RECOVER_PATH, door.recover)]
