"""The way back to a cart that was left, by the link in a mail or in the browser that left it."""

import re
import secrets
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from sandbox.shop.cart import CURRENCIES, Cart
from sandbox.shop.forms import own_form, see
from sandbox.shop.gateway import Platform
from sandbox.shop.pages import Pages
from sandbox.shop.problems import LEFT, Problem
from sandbox.shop.progress import news
from sandbox.shop.routes.paying import where_to_pay
from sandbox.shop.session import Session, keeping, left

NONCE: Final = re.compile(r"[0-9a-f]{24}", re.ASCII)
SHORT: Final = "There is not enough left of what you wanted. You can change it in the cart."


@dataclass(frozen=True, slots=True)
class Door:
    """The offer to go on, and going on."""

    platform: Platform
    pages: Pages
    session: Session

    async def show(self, request: web.Request) -> web.Response:
        """What the link in a mail opens: the cart of an order that ended, as it would be today."""
        return await self._page(request, request.query.get("order_id", ""), request.query.get("token", ""))

    async def recover(self, request: web.Request) -> web.Response:
        """Take up again what was left, and go to the hosted page; or take it to the cart, to change it there."""
        form = await own_form(request)
        order_id, token, nonce = (form.get(name, "") for name in ("order_id", "token", "nonce"))
        left_one = left(request, order_id, token)
        offer = await self.platform.offer(left_one) if left_one else None
        if left_one is None or offer is None or isinstance(offer, Problem) or not NONCE.fullmatch(nonce):
            return await self._page(request, order_id, token)
        cart = Cart(
            {line["sku"]: line["quantity"] for line in offer["lines"]},
            offer["currency"] if offer["currency"] in CURRENCIES else CURRENCIES[0],
            offer["coupon"] or "",
            country=self.session.cart(request).country,
        )
        if "to_cart" in form:
            return self.session.with_cart(see("/shop/cart"), cart)
        answer = await self.platform.recover(left_one, nonce, cart)
        if isinstance(answer, Problem):
            told = replace(answer, general=SHORT) if answer.lines else answer
            return await self._page(request, order_id, token, told)
        return keeping(see(await where_to_pay(self.platform, answer)), answer, "")

    async def _page(
        self, request: web.Request, order_id: str, token: str, problem: Problem | None = None
    ) -> web.Response:
        cart, left_one = self.session.cart(request), left(request, order_id, token)
        offer = await self.platform.offer(left_one) if left_one else Problem(LEFT["not_found"])
        if isinstance(offer, Problem):
            return self.pages.missing(("We cannot bring this cart back", offer.general), cart)
        shelf = await self.platform.shelf()
        values = {
            "offer": offer,
            "news": [news(change, offer["currency"]) for change in offer["changes"]],
            "before": {c["sku"]: c["before_minor"] for c in offer["changes"] if c["code"] == "price_changed"},
            "images": {sku: ware.image for sku, ware in shelf.items()},
            "token": token,
            "nonce": secrets.token_hex(12),
            "problem": problem or Problem(),
        }
        status = 200 if problem is None else 422 if problem.settled else 503
        return self.pages.page("recover.html", cart, status=status, **values)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes back to what was left."""
    return [web.get("/shop/recover", door.show), web.post("/shop/recover", door.recover)]
