"""From the cart to the payment: on the hosted page, or at once with what the customer saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox.shop.forms import filled, locale, own_form, see
from sandbox.shop.gateway import Platform
from sandbox.shop.problems import Problem
from sandbox.shop.routes import cart as carts
from sandbox.shop.routes.cart import GONE, still_sold
from sandbox.shop.session import Session, keeping


@dataclass(frozen=True, slots=True)
class Door:
    """Placing orders. What cannot be ordered is said on the cart's page."""

    platform: Platform
    session: Session
    carts: carts.Door

    async def checkout(self, request: web.Request) -> web.Response:
        """Place the order and go to the hosted page; what is wrong is said beside its field."""
        cart = filled(self.session.cart(request), await own_form(request))
        person = self.session.person(request)
        sold = still_sold(cart, await self.platform.shelf())
        if sold != cart:
            return await self.carts.shown(request, sold, GONE)
        if not cart.lines:
            return self.session.with_cart(see("/shop/cart"), cart)
        answer = await self.platform.place(cart, person, locale(request))
        if isinstance(answer, Problem):
            # A refusal stays under its key: the next try is another order. Otherwise the next try goes on with this.
            return await self.carts.shown(request, cart.renewed() if answer.settled else cart, answer)
        response = see(await where_to_pay(self.platform, answer))
        return self.session.with_cart(keeping(response, answer, cart.key), cart)

    async def buy(self, request: web.Request) -> web.Response:
        """Place the order and pay with what the customer saved; to his bank's page when that asks for him.

        Goods go to the address that he saved, so they need one, in the country that the sums were told for.
        """
        cart = filled(self.session.cart(request), await own_form(request))
        person, shelf = self.session.person(request), await self.platform.shelf()
        downloads = all(sku in shelf and shelf[sku].digital for sku in cart.lines)
        address = None if downloads else self.session.address(request)
        to_send = downloads or (address is not None and address.country == cart.country)
        if person is None or not cart.lines or not to_send:
            return self.session.with_cart(see("/shop/cart"), cart)
        answer = await self.platform.buy(cart, person, address, locale(request))
        if isinstance(answer, Problem):
            return await self.carts.shown(request, cart.renewed() if answer.settled else cart, answer)
        response = see(str(answer["action_url"] or f"/shop/success?order_id={answer['order_id']}"))
        return self.session.with_cart(keeping(response, answer, cart.key), cart)


async def where_to_pay(platform: Platform, answer: Mapping[str, Any]) -> str:  # Any: the platform's JSON
    """The hosted page; the order's own page when this very cart was ordered before and its page has ended."""
    order_id = str(answer["order_id"])
    seen = await platform.order(order_id, str(answer["order_token"]))
    url = answer["checkout_url"] if seen is None else seen["checkout_url"]
    return str(url or f"/shop/success?order_id={order_id}")


def routes(door: Door) -> list[web.RouteDef]:
    """Routes to the payment."""
    return [web.post("/shop/checkout", door.checkout), web.post("/shop/buy", door.buy)]
