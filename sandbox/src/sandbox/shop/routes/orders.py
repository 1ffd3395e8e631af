"""An order's page, for the browser that placed it."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from aiohttp import web

from sandbox.shop.gateway import Platform
from sandbox.shop.pages import Pages
from sandbox.shop.progress import milestones, progress
from sandbox.shop.session import Session, kept

MISSING_ORDER: Final = ("We cannot show this order here", "An order is shown in the browser that placed it.")


@dataclass(frozen=True, slots=True)
class Door:
    """The page, and what its script asks for."""

    platform: Platform
    pages: Pages
    session: Session

    async def show(self, request: web.Request) -> web.Response:
        """An order's state."""
        order_id, cart = request.query.get("order_id", ""), self.session.cart(request)
        seen = await self._seen(request, order_id)
        if seen is None:
            return self.pages.missing(MISSING_ORDER, cart)
        at, (_, key) = progress(seen), kept(request, order_id)
        paid_for = seen["paid_at"] or seen["status"] == "processing" or seen["next_attempt_at"]
        if key == cart.key and paid_for:  # this cart has done its work; a newer one has not
            cart = cart.emptied()
        elif key == cart.key and at.final:
            cart = cart.renewed()
        person = self.session.person(request)
        page = self.pages.page("order.html", cart, order=seen, at=at, milestones=milestones(seen), person=person)
        return self.session.with_cart(page, cart)

    async def show_json(self, request: web.Request) -> web.Response:
        """What the order's page asks for again and again."""
        seen = await self._seen(request, request.match_info["order_id"])
        if seen is None:
            return _not_found()
        shown = {**asdict(progress(seen)), "refunded_minor": seen["refunded_minor"]}
        return web.json_response(shown, headers={"Cache-Control": "no-store"})

    async def ticket(self, request: web.Request) -> web.Response:
        """Where the order's page hears of changes."""
        order_id = request.match_info["order_id"]
        token, _ = kept(request, order_id)
        ticket = await self.platform.ticket(order_id, token) if token else None
        if ticket is None:
            return _not_found()
        return web.json_response(ticket, headers={"Cache-Control": "no-store"})

    async def _seen(self, request: web.Request, order_id: str) -> dict[str, Any] | None:  # Any: the platform's JSON
        token, _ = kept(request, order_id)
        return await self.platform.order(order_id, token) if token else None


def _not_found() -> web.Response:
    return web.json_response({"status": 404, "code": "not_found"}, status=404)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of orders."""
    return [
        web.get("/shop/success", door.show),
        web.get("/shop/orders/{order_id}", door.show_json),
        web.post("/shop/orders/{order_id}/ticket", door.ticket),
    ]
