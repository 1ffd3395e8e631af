"""The cart's page, and what a visitor changes there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from sandbox.shop.cart import CURRENCIES, Cart
from sandbox.shop.forms import filled, own_form, see
from sandbox.shop.gateway import Platform, Problem
from sandbox.shop.pages import Pages
from sandbox.shop.person import Person
from sandbox.shop.session import Session


@dataclass(frozen=True, slots=True)
class Door:
    """The cart, shown and changed."""

    platform: Platform
    pages: Pages
    session: Session

    async def show(self, request: web.Request) -> web.Response:
        """The cart, with what it comes to at the shelf's prices. The platform's own total is what counts."""
        return await self.shown(self.session.cart(request), person=self.session.person(request))

    async def change(self, request: web.Request) -> web.Response:
        """Add a piece, take what the cart's page says, or change the currency; then back to where the buyer was."""
        form = await own_form(request)
        shelf = await self.platform.shelf()
        cart = filled(self.session.cart(request), form)
        back = "/shop/cart" if form.get("back") == "cart" else "/shop"
        if (sku := form.get("add", "")) in shelf:
            cart = cart.with_quantity(sku, cart.lines.get(sku, 0) + 1)
            back += "#" + sku
        if (sku := form.get("remove", "")) in cart.lines:
            cart = cart.with_quantity(sku, 0)
        if (currency := form.get("currency", cart.currency)) in CURRENCIES:
            cart = replace(cart, currency=currency)
        return self.session.with_cart(see(back), cart)

    async def shown(self, cart: Cart, problem: Problem | None = None, person: Person | None = None) -> web.Response:
        """The cart's page, with what is wrong beside its field."""
        shelf = await self.platform.shelf()
        lines = [(shelf[sku], quantity) for sku, quantity in cart.lines.items() if sku in shelf]
        sum_minor = sum(ware.prices.get(cart.currency, 0) * quantity for ware, quantity in lines)
        status = 200 if problem is None else 422 if problem.settled else 503
        values = {"lines": lines, "sum_minor": sum_minor, "problem": problem or Problem(), "person": person}
        quick = await self._quick(person)
        page = self.pages.page("cart.html", cart, status=status, quick=quick, **values)
        return self.session.with_cart(page, cart)

    async def _quick(self, person: Person | None) -> Mapping[str, Any] | None:  # Any: the platform's JSON
        """The saved method that pays with one click, if there is one that can."""
        methods = await self.platform.methods(person) if person else []
        return next((method for method in methods if method["default"] and not method["expired"]), None)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the cart."""
    return [web.get("/shop/cart", door.show), web.post("/shop/cart", door.change)]
