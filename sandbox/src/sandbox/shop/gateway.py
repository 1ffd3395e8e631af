"""The platform as the shop's server calls it: the public API for buyers, the administrators' ports for the shelf."""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from payments_shared import tracing
from sandbox.services.keys import mint
from sandbox.shop.address import Address
from sandbox.shop.cart import Cart
from sandbox.shop.person import EMAIL, Person
from sandbox.shop.problems import AWAY, LEFT, Problem, problem

Json = dict[str, Any]
SHELF_SECONDS: Final = 0.5
IN_FLIGHT_TRIES: Final = 20
IN_FLIGHT_SECONDS: Final = 0.25
UNDER_WAY: Final = ("idempotency_in_flight", "order_in_progress")


@dataclass(frozen=True, slots=True)
class Ware:
    """An article on the shelf; prices in minor units by currency. A `digital` one is not sent."""

    sku: str
    name: str
    description: str
    image: str
    prices: Mapping[str, int]
    available: int
    digital: bool


@dataclass(frozen=True, slots=True)
class Bill:
    """What a cart comes to: the platform's quote for it, every way to ship it, and which of them the quote is for.
    There is none where nothing is to be sent. `credit_minor` is what the customer may spend of his store credit."""

    quote: Mapping[str, Any]  # Any: the platform's JSON
    ways: Sequence[Mapping[str, Any]] = ()
    way: str = ""
    credit_minor: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """An order that its buyer left, and how he shows that it is his: by the link in his mail, or in his browser."""

    order_id: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Platform:
    """One HTTP client for all calls."""

    http: aiohttp.ClientSession
    api_url: str
    checkout_admin_url: str
    inventory_admin_url: str
    key_file: Path
    _shelf: tuple[float, Mapping[str, Ware]] = (0.0, {})

    async def shelf(self) -> Mapping[str, Ware]:
        """All active wares by SKU, at most half a second old."""
        at, wares = self._shelf
        if time.monotonic() - at > SHELF_SECONDS:
            products, stock = await asyncio.gather(
                self._admin(f"{self.checkout_admin_url}/admin/products"),
                self._admin(f"{self.inventory_admin_url}/admin/stock"),
            )
            available = {row["sku"]: int(row["available"]) for row in stock["stock"]}
            wares = {p["sku"]: _ware(p, available.get(p["sku"], 0)) for p in products["products"] if p["active"]}
            self._shelf = (time.monotonic(), wares)
        return wares

    async def bill(self, cart: Cart, person: Person | None) -> Bill | Problem:
        """What the cart comes to now: shipped in the way that the buyer chose, or in the cheapest.

        Raises:
            aiohttp.ClientError: nobody could say.
        """
        quote, credit = await asyncio.gather(
            self._quoted(replace(cart, way=""), person), self._credit(person, cart.currency)
        )
        if isinstance(quote, Problem):
            return quote
        ways = quote["ways"] or []
        chosen = str(quote["shipping"][0]["option"]) if ways else ""
        if cart.way != chosen and any(way["option"] == cart.way for way in ways):
            chosen, quote = cart.way, await self._quoted(cart, person)
        return quote if isinstance(quote, Problem) else Bill(quote, ways, chosen, credit)

    async def _credit(self, person: Person | None, currency: str) -> int:
        """What a customer may spend of his store credit."""
        if person is None:
            return 0
        url = f"{self.api_url}/api/payments/store-credit?limit=1"
        status, answer = await self._call("GET", url, None, self._as(person))
        if status != 200:
            raise aiohttp.ClientError(f"store credit answered {status}")
        found = (one["available_minor"] for one in answer["balances"] if one["currency"] == currency)
        return int(next(found, 0))

    async def _quoted(self, cart: Cart, person: Person | None) -> Json | Problem:
        body = (
            _goods(cart)
            | {"shipping": _shipping(cart)}
            | ({"email": cart.email} if EMAIL.fullmatch(cart.email) else {})
            | _with_credit(cart, person)
        )
        headers = self._as(person) if person else {}
        status, answer = await self._call("POST", f"{self.api_url}/api/payments/quote", body, headers)
        if status >= 500:
            raise aiohttp.ClientError(f"quote answered {status}")
        return answer if status == 200 else problem(cart, status, answer)

    async def place(self, cart: Cart, person: Person | None, locale: str) -> Json | Problem:
        """Order the cart under its key, for a reader of `locale`. A second click waits for the answer of the first.
        One who is signed in is offered what he saved."""
        body = _goods(cart) | {"shipping": _shipping(cart), "email": cart.email, "locale": locale}
        body |= _with_credit(cart, person)
        self._shelf = (0.0, {})
        headers = {"Idempotency-Key": cart.key} | (self._as(person) if person else {})
        return await self._placed(f"{self.api_url}/api/payments/checkout-session", body, headers, cart)

    async def _placed(self, url: str, body: object, headers: Mapping[str, str], cart: Cart) -> Json | Problem:
        try:
            status, answer = await self._patiently(url, body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Problem(AWAY, settled=False)
        return answer if status in (201, 202) else problem(cart, status, answer)

    async def buy(self, cart: Cart, person: Person, address: Address | None, locale: str) -> Json | Problem:
        """Order the cart under its key, pay with what the customer saved, and send goods to `address`."""
        body = _goods(cart) | {"locale": locale, "retry_later": cart.later} | _with_credit(cart, person)
        if address is not None:
            body["shipping"] = asdict(address) | ({"option": cart.way} if cart.way else {})
        self._shelf = (0.0, {})
        # Sent to another address it is another order.
        key = hashlib.sha256(json.dumps([cart.key, body.get("shipping")]).encode()).hexdigest()[:40]
        url, headers = f"{self.api_url}/api/payments/one-click", {"Idempotency-Key": key, **self._as(person)}
        return await self._placed(url, body, headers, cart)

    async def offer(self, left: Left) -> Json | Problem:
        """What an order that was left would come to today.

        Raises:
            aiohttp.ClientError: nobody could say.
        """
        status, answer = await self._call("GET", f"{self._order_url(left.order_id)}/recovery", None, left.headers)
        if status >= 500:
            raise aiohttp.ClientError(f"recovery answered {status}")
        return answer if status == 200 else Problem(general=LEFT.get(str(answer.get("code")), LEFT["not_found"]))

    async def recover(self, left: Left, key: str, cart: Cart) -> Json | Problem:
        """Take up again what was left; its lines are those of `cart`."""
        self._shelf = (0.0, {})
        url, headers = f"{self._order_url(left.order_id)}/recover", {**left.headers, "Idempotency-Key": key}
        return await self._placed(url, None, headers, cart)

    async def ticket(self, order_id: str, token: str) -> Json | None:
        """The path of the order's events, for its page's script; none for who does not hold its token."""
        status, answer = await self._call(
            "POST", f"{self._order_url(order_id)}/events-ticket", None, {"Order-Token": token}
        )
        return answer if status == 201 else None

    def _order_url(self, order_id: str) -> str:
        return f"{self.api_url}/api/payments/orders/{order_id}"

    async def methods(self, person: Person) -> list[Json]:
        """What a customer saved to pay with, the newest first.

        Raises:
            aiohttp.ClientError: nobody could say.
        """
        status, answer = await self._call("GET", f"{self.api_url}/api/payments/methods", None, self._as(person))
        if status != 200:
            raise aiohttp.ClientError(f"methods answered {status}")
        return list(answer["methods"])

    async def save_method(self, person: Person, back: str) -> str | Problem:
        """The page on which a customer saves a payment method; `back` is the path that it leads to afterwards."""
        url, body = f"{self.api_url}/api/payments/methods", {"success_path": back, "cancel_path": "/shop/account"}
        headers = {"Idempotency-Key": secrets.token_hex(16), **self._as(person)}
        status, answer = await self._call("POST", url, body, headers)
        return str(answer["url"]) if status == 201 else Problem(str(answer.get("detail") or AWAY))

    async def order(self, order_id: str, token: str) -> Json | None:
        """The order, for whoever holds its token; none for others.

        Raises:
            aiohttp.ClientError: nobody could say.
        """
        status, answer = await self._call("GET", self._order_url(order_id), None, {"Order-Token": token})
        if status >= 500:
            raise aiohttp.ClientError(f"orders answered {status}")
        return answer if status == 200 else None

    def _as(self, person: Person) -> dict[str, str]:
        token = mint(self.key_file, person.subject, "customer", email=person.email, seconds=300)
        return {"Authorization": f"Bearer {token}"}

    async def _patiently(self, url: str, body: object, headers: Mapping[str, str]) -> tuple[int, Json]:
        """POST under a key; a second click waits for the answer of the first."""
        for _ in range(IN_FLIGHT_TRIES):
            status, answer = await self._call("POST", url, body, headers)
            if answer.get("code") not in UNDER_WAY:
                break
            await asyncio.sleep(IN_FLIGHT_SECONDS)
        return status, answer

    async def _admin(self, url: str) -> Json:
        token = mint(self.key_file, "shop", "support", seconds=300)
        status, answer = await self._call("GET", url, None, {"Authorization": f"Bearer {token}"})
        if status != 200:
            raise aiohttp.ClientError(f"the shelf answered {status}")
        return answer

    async def _call(self, method: str, url: str, body: object, headers: Mapping[str, str]) -> tuple[int, Json]:
        async with self.http.request(method, url, json=body, headers={**headers, **tracing.carried()}) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else {}


def _ware(product: Json, available: int) -> Ware:
    names = ("sku", "name", "description", "image", "prices", "digital")
    return Ware(available=available, **{name: product[name] for name in names})


def _goods(cart: Cart) -> Json:
    """What is wanted, and where the buyer is."""
    goods: Json = {
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in cart.lines.items()],
        "currency": cart.currency,
        "country": cart.country,
    }
    return goods | ({"coupon": cart.coupon} if cart.coupon else {})


def _with_credit(cart: Cart, person: Person | None) -> Json:
    """Store credit pays first, where the customer wants that."""
    return {"use_store_credit": True} if cart.credit and person else {}


def _shipping(cart: Cart) -> Json:
    """Where goods would go, and how. The platform leaves it out where nothing has to be carried."""
    return {"country": cart.country} | ({"option": cart.way} if cart.way else {})
