"""What a visitor's browser keeps for the shop, in cookies: the cart, who he is, where his parcels go, and the
orders that he placed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web

from sandbox.shop import address as addresses
from sandbox.shop.address import Address
from sandbox.shop.cart import Cart, opened
from sandbox.shop.forms import home
from sandbox.shop.gateway import Left
from sandbox.shop.person import Person, signed_in

CART: Final = "cart"
PERSON: Final = "person"
ADDRESS: Final = "address"
CART_SECONDS: Final = 30 * 86_400
ORDER_SECONDS: Final = 86_400  # how long a browser can look at its order
ORDER_ID: Final = re.compile(r"ord_[0-9a-f]{32}", re.ASCII)
LINK: Final = re.compile(r"[0-9]{10}\.[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """Reads and writes the cookies; `secret` seals those that name a cart or a person."""

    secret: bytes

    def cart(self, request: web.Request) -> Cart:
        """The visitor's cart; an empty one when he has none. Where he is, as long as he has not said, is where his
        browser's language is spoken; his address is the one that he signed in with."""
        cart, person = opened(request.cookies.get(CART, ""), self.secret), self.person(request)
        email = cart.email or (person.email if person else "")
        return replace(cart, email=email, country=cart.country or home(request))

    def with_cart(self, response: web.Response, cart: Cart) -> web.Response:
        """The response, with which the browser keeps `cart`."""
        sealed = cart.sealed(self.secret)
        response.set_cookie(CART, sealed, path="/shop", httponly=True, samesite="Lax", max_age=CART_SECONDS)
        return response

    def person(self, request: web.Request) -> Person | None:
        """Who is signed in."""
        return signed_in(request.cookies.get(PERSON, ""), self.secret)

    def with_person(self, response: web.Response, person: Person) -> web.Response:
        """The response, with which the browser is signed in."""
        sealed = person.sealed(self.secret)
        response.set_cookie(PERSON, sealed, path="/shop", httponly=True, samesite="Lax", max_age=ORDER_SECONDS)
        return response

    def address(self, request: web.Request) -> Address | None:
        """Where parcels of who is signed in go, if he said so."""
        person = self.person(request)
        return addresses.opened(request.cookies.get(ADDRESS, ""), person.subject, self.secret) if person else None

    def with_address(self, response: web.Response, person: Person, address: Address) -> web.Response:
        """The response, with which the browser keeps where parcels of `person` go."""
        sealed = address.sealed(person.subject, self.secret)
        response.set_cookie(ADDRESS, sealed, path="/shop", httponly=True, samesite="Lax", max_age=CART_SECONDS)
        return response


def without_person(response: web.Response) -> web.Response:
    """The response, with which the browser forgets who is signed in."""
    for name in (PERSON, ADDRESS):
        response.del_cookie(name, path="/shop")
    return response


def keeping(response: web.Response, answer: Mapping[str, Any], key: str) -> web.Response:  # Any: the platform's JSON
    """Let this browser look at the order that was placed, of the cart with `key`."""
    kept = f"{answer['order_token']}.{key}"
    response.set_cookie(answer["order_id"], kept, path="/shop", httponly=True, samesite="Lax", max_age=ORDER_SECONDS)
    return response


def kept(request: web.Request, order_id: str) -> tuple[str, str]:
    """The token of an order that this browser placed, and the key of the cart it was; empty for all others."""
    found = request.cookies.get(order_id, "") if ORDER_ID.fullmatch(order_id) else ""
    token, _, key = found.partition(".")
    return token, key


def left(request: web.Request, order_id: str, token: str) -> Left | None:
    """The order that was left, for whoever came by the link in its mail, or placed it in this browser."""
    if not ORDER_ID.fullmatch(order_id):
        return None
    if token:
        return Left(order_id, {"Recovery-Token": token}) if LINK.fullmatch(token) else None
    own, _ = kept(request, order_id)
    return Left(order_id, {"Order-Token": own}) if own else None
