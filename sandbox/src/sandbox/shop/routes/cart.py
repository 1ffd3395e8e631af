"""The cart's page, and what a visitor changes there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web

from sandbox.shop.cart import CURRENCIES, Cart
from sandbox.shop.catalogue import COUNTRIES
from sandbox.shop.forms import filled, own_form, see
from sandbox.shop.gateway import Bill, Platform, Ware
from sandbox.shop.pages import Pages
from sandbox.shop.person import Person
from sandbox.shop.problems import Problem
from sandbox.shop.session import Session

GONE: Final = Problem("Something is no longer sold. We took it out of your cart.")


@dataclass(frozen=True, slots=True)
class Door:
    """The cart, shown and changed."""

    platform: Platform
    pages: Pages
    session: Session

    async def show(self, request: web.Request) -> web.Response:
        """The cart, with what it comes to: goods, coupon, shipping and tax, as the platform says."""
        return await self.shown(request, self.session.cart(request))

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

    async def shown(self, request: web.Request, cart: Cart, refused: Problem | None = None) -> web.Response:
        """The cart's page, with what is wrong beside its field; `refused`: why it was not ordered."""
        person, address = self.session.person(request), self.session.address(request)
        shelf = await self.platform.shelf()
        sold = still_sold(cart, shelf)
        wrong = refused or Problem()
        if sold != cart:
            wrong = replace(wrong, general=GONE.general)
        bill = await self.platform.bill(sold, person) if sold.lines else None
        if isinstance(bill, Problem):
            wrong, bill = wrong if wrong != Problem() else bill, None
        page = self.pages.page(
            "cart.html",
            sold,
            status=200 if refused is None else 422 if refused.settled else 503,
            lines=[(shelf[sku], quantity) for sku, quantity in sold.lines.items()],
            bill=bill,
            countries=COUNTRIES,
            problem=_with_verdict(wrong, bill),
            person=person,
            quick=await self._quick(person) if bill else None,
            address=address if address and address.country == sold.country else None,
        )
        return self.session.with_cart(page, sold)

    async def _quick(self, person: Person | None) -> Mapping[str, Any] | None:  # Any: the platform's JSON
        """The saved method that pays with one click, if there is one that can."""
        methods = await self.platform.methods(person) if person else []
        return next((method for method in methods if method["default"] and not method["expired"]), None)


def still_sold(cart: Cart, shelf: Mapping[str, Ware]) -> Cart:
    """The cart without what is no longer on the shelf."""
    for sku in [sku for sku in cart.lines if sku not in shelf]:
        cart = cart.with_quantity(sku, 0)
    return cart


def _with_verdict(wrong: Problem, bill: Bill | None) -> Problem:
    """What is wrong, and why the coupon takes nothing off."""
    verdict = bill.quote["coupon"] if bill else None
    if verdict is None or verdict["applies"]:
        return wrong
    return replace(wrong, fields={"coupon": verdict["reason"]["detail"], **wrong.fields})


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the cart."""
    return [web.get("/shop/cart", door.show), web.post("/shop/cart", door.change)]
