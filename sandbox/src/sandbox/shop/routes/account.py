"""The customer's account: who he is, and what he saved to pay with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from sandbox.shop.forms import own_form, see
from sandbox.shop.gateway import Platform
from sandbox.shop.pages import Pages
from sandbox.shop.person import EMAIL, Person
from sandbox.shop.problems import WORDS, Problem
from sandbox.shop.session import Session, without_person


@dataclass(frozen=True, slots=True)
class Door:
    """Signing in and out, and saving a payment method."""

    platform: Platform
    pages: Pages
    session: Session

    async def show(self, request: web.Request) -> web.Response:
        """What the customer saved to pay with, or a form to sign in."""
        person = self.session.person(request)
        methods = await self.platform.methods(person) if person else []
        waiting = "saved" in request.query and not methods
        return self._page(request, person, methods, waiting=waiting)

    async def sign_in(self, request: web.Request) -> web.Response:
        """Take the visitor's word for who he is."""
        email = (await own_form(request)).get("email", "").strip()
        if not EMAIL.fullmatch(email):
            return self._page(request, None, [], Problem(fields={"email": WORDS["email"]}))
        cart = self.session.cart(request)
        response = self.session.with_cart(see("/shop/account"), replace(cart, email=cart.email or email))
        return self.session.with_person(response, Person(email))

    async def sign_out(self, request: web.Request) -> web.Response:
        """Forget who the visitor is."""
        await own_form(request)
        return without_person(see("/shop"))

    async def save_method(self, request: web.Request) -> web.Response:
        """Go to the page on which a payment method is saved."""
        await own_form(request)
        if (person := self.session.person(request)) is None:
            return see("/shop/account")
        url = await self.platform.save_method(person, "/shop/account?saved=yes")
        if isinstance(url, str):
            return see(url)
        return self._page(request, person, await self.platform.methods(person), url)

    def _page(
        self,
        request: web.Request,
        person: Person | None,
        methods: Sequence[Mapping[str, Any]],  # Any: the platform's JSON
        problem: Problem | None = None,
        *,
        waiting: bool = False,
    ) -> web.Response:
        return self.pages.page(
            "account.html",
            self.session.cart(request),
            status=200 if problem is None else 422,
            person=person,
            methods=methods,
            problem=problem or Problem(),
            waiting=waiting,
        )


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the account."""
    return [
        web.get("/shop/account", door.show),
        web.post("/shop/account", door.sign_in),
        web.post("/shop/account/save", door.save_method),
        web.post("/shop/account/leave", door.sign_out),
    ]
