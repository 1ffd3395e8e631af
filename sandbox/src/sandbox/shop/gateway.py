"""The platform as the shop's server calls it: the public API for buyers, the administrators' ports for the shelf."""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from sandbox.services.keys import mint
from sandbox.shop.cart import Cart
from sandbox.shop.person import Person

Json = dict[str, Any]
SHELF_SECONDS: Final = 0.5
IN_FLIGHT_TRIES: Final = 20
IN_FLIGHT_SECONDS: Final = 0.25
AWAY: Final = "The shop cannot take orders at the moment. Nothing was charged; please try again."
UNDER_WAY: Final = ("idempotency_in_flight", "order_in_progress")
# Why an order that was left cannot be taken up again.
LEFT: Final[Mapping[str, str]] = {
    "not_found": "This link is not complete. Please use the one in the mail.",
    "recovery_expired": "This link is too old. The shop is still open.",
    "order_paid": "This order is paid, or its payment is on its way. There is nothing left to do.",
    "order_not_recoverable": "This order is still open, or was canceled.",
    "nothing_left": "Nothing of this order is sold any more.",
}
# What is said of a field whose form is wrong.
WORDS: Final[Mapping[str, str]] = {
    "email": "Please give an e-mail address, such as you@example.com.",
    "coupon": "There is no such coupon.",
}


@dataclass(frozen=True, slots=True)
class Ware:
    """An article on the shelf; prices in minor units by currency."""

    sku: str
    name: str
    description: str
    image: str
    prices: Mapping[str, int]
    available: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an order was not placed: for the whole cart, for its fields (coupon, email) or for its lines, by SKU.

    `settled`: the platform said no, and would say so again under the same key. Else nobody knows yet.
    """

    general: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, str] = field(default_factory=dict)
    settled: bool = True


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
            wares = {
                p["sku"]: Ware(
                    p["sku"], p["name"], p["description"], p["image"], p["prices"], available.get(p["sku"], 0)
                )
                for p in products["products"]
                if p["active"]
            }
            self._shelf = (time.monotonic(), wares)
        return wares

    async def place(self, cart: Cart, locale: str) -> Json | Problem:
        """Order the cart under its key, for a reader of `locale`. A second click waits for the answer of the first."""
        body: Json = {
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in cart.lines.items()],
            "currency": cart.currency,
            "email": cart.email,
            "locale": locale,
            **({"coupon": cart.coupon} if cart.coupon else {}),
        }
        self._shelf = (0.0, {})
        url = f"{self.api_url}/api/payments/checkout-session"
        return await self._placed(url, body, {"Idempotency-Key": cart.key}, cart)

    async def _placed(self, url: str, body: object, headers: Mapping[str, str], cart: Cart) -> Json | Problem:
        try:
            status, answer = await self._patiently(url, body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Problem(AWAY, settled=False)
        return answer if status in (201, 202) else problem(cart, status, answer)

    async def buy(self, cart: Cart, person: Person, locale: str) -> Json | Problem:
        """Order the cart under its key, and pay with what the customer saved."""
        body: Json = {
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in cart.lines.items()],
            "currency": cart.currency,
            "locale": locale,
            **({"coupon": cart.coupon} if cart.coupon else {}),
        }
        self._shelf = (0.0, {})
        url, headers = f"{self.api_url}/api/payments/one-click", {"Idempotency-Key": cart.key, **self._as(person)}
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
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else {}


def problem(cart: Cart, status: int, answer: Mapping[str, Any]) -> Problem:
    """What the platform's refusal means for the cart's page."""
    code = answer.get("code")
    if code == "idempotency_in_flight" or (status >= 500 and code != "stripe_refused"):
        return Problem(AWAY, settled=False)
    if code == "payment_declined":
        return Problem("Your bank declined the payment. Nothing was charged; you can pay in another way.")
    if code == "out_of_stock":
        left = {row["sku"]: int(row["available"]) for row in answer.get("available", [])}
        lines = {sku: _left(left[sku]) for sku, wanted in cart.lines.items() if left.get(sku, wanted) < wanted}
        return Problem("There is not enough of what you want. Please change the quantities below.", lines=lines)
    fields: dict[str, str] = {}
    lines = {}
    for error in answer.get("errors", []):
        first, _, rest = error["pointer"].lstrip("/").partition("/")
        number = rest.partition("/")[0]
        if first in WORDS:
            fields[first] = WORDS[first] if code == "validation_failed" else error["detail"]
        elif first == "lines" and number.isdecimal() and int(number) < len(cart.lines):
            lines[list(cart.lines)[int(number)]] = error["detail"]
    if fields or lines:
        return Problem("Please check what is marked.", fields, lines)
    return Problem(str(answer.get("detail") or AWAY))


def _left(available: int) -> str:
    return "Sold out, please remove it." if available == 0 else f"Only {available} left."
