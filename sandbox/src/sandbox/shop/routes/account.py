"""The customer's account: who he is, what he saved to pay with, and where his parcels go."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiohttp import web

from sandbox.shop.address import MISSING, Address, typed
from sandbox.shop.catalogue import COUNTRIES
from sandbox.shop.forms import own_form, see
from sandbox.shop.gateway import Platform
from sandbox.shop.pages import Pages
from sandbox.shop.person import EMAIL, Person
from sandbox.shop.problems import WORDS, Problem
from sandbox.shop.session import Session, without_person


@dataclass(frozen=True, slots=True)
class Door:
    """Signing in and out, and saving a payment method and an address."""

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

    async def save_address(self, request: web.Request) -> web.Response:
        """Keep where parcels go."""
        form = await own_form(request)
        if (person := self.session.person(request)) is None:
            return see("/shop/account")
        address = typed(form)
        if isinstance(address, Address):
            cart = replace(self.session.cart(request), country=address.country)
            response = self.session.with_cart(see("/shop/account"), cart)
            return self.session.with_address(response, person, address)
        methods = await self.platform.methods(person)
        return self._page(request, person, methods, Problem(fields=address), form)

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
        form: Mapping[str, str] | None = None,
        *,
        waiting: bool = False,
    ) -> web.Response:
        cart, address = self.session.cart(request), self.session.address(request)
        kept = asdict(address) if address else {"country": cart.country}
        return self.pages.page(
            "account.html",
            cart,
            countries=COUNTRIES,
            typed=dict.fromkeys(MISSING, "") | kept | dict(form or {}),
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
        web.post("/shop/account/address", door.save_address),
        web.post("/shop/account/leave", door.sign_out),
    ]
