"""What the demo does and sees from outside: the public API, the hosted page, the services' administrators' ports."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from sandbox.services.deployment import Deployment

Json = dict[str, Any]
T = TypeVar("T")
TEST_CARD = "4242424242424242"


class NotInTime(RuntimeError):
    """What the demo waited for did not come true."""


async def wait_for(look: Callable[[], Awaitable[T]], what: str, *, seconds: float = 30.0) -> T:
    """The first truthy answer of `look`.

    Raises:
        NotInTime: there was none in time.
    """
    deadline = time.monotonic() + seconds
    while not (answer := await look()):
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.02)
    return answer


@dataclass(slots=True)
class Customer:
    """A buyer's HTTP client, and an administrator's for looking."""

    deployment: Deployment
    http: aiohttp.ClientSession

    @classmethod
    @asynccontextmanager
    async def of(cls, deployment: Deployment) -> AsyncIterator["Customer"]:
        """With connections of its own."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            yield cls(deployment, http)

    async def place(self, lines: list[Json], *, email: str, coupon: str) -> Json:
        """`POST /api/payments/checkout-session` through the front door."""
        body = {"lines": lines, "email": email, "coupon": coupon, "currency": "usd", "country": "US"}
        url = self.deployment.front_door_url + "/api/payments/checkout-session"
        return await self._json("POST", url, body, {"Idempotency-Key": secrets.token_hex(12)})

    async def pay(self, order: Json) -> int:
        """Fill in the hosted page; 303 is success."""
        form = {"number": TEST_CARD, "email": "ada@example.com", "name": "Ada Lovelace", "method": "card"}
        async with self.http.post(order["checkout_url"], data=form, allow_redirects=False) as answer:
            return answer.status

    async def order(self, order: Json) -> Json:
        """`GET /api/payments/orders/{id}`, with the order's own token."""
        url = f"{self.deployment.front_door_url}/api/payments/orders/{order['order_id']}"
        return await self._json("GET", url, None, {"Order-Token": order["order_token"]})

    async def stock(self, sku: str) -> Json:
        """The piles of one SKU: total, available, held, committed."""
        rows = (await self._admin("inventory", "/admin/stock"))["stock"]
        return next(row for row in rows if row["sku"] == sku)

    async def shipments(self, order: Json) -> list[Json]:
        """The order's shipments that are not canceled."""
        rows = (await self._admin("fulfillment", f"/admin/shipments?order_id={order['order_id']}"))["shipments"]
        return [row for row in rows if row["status"] != "canceled"]

    async def story(self, order: Json) -> list[Json]:
        """Every message about the order, as operations heard them."""
        found = await self._admin("operations", f"/admin/orders/{order['order_id']}/timeline")
        return list(found["messages"])

    async def mails(self, order: Json) -> list[Json]:
        """Mails about the order that arrived."""
        url = f"{self.deployment.mailbox_url}/api/messages?order_id={order['order_id']}"
        return list((await self._json("GET", url))["messages"])

    async def event(self, order: Json, type_: str) -> Json:
        """Stripe's event of a type about the order."""
        url = f"{self.deployment.stripe_url}/v1/events?limit=100&type={type_}"
        listed = await self._json("GET", url, None, {"Authorization": "Bearer sk_test_demo"})
        return next(e for e in listed["data"] if e["data"]["object"].get("client_reference_id") == order["order_id"])

    async def send_again(self, event: Json, copies: int) -> list[int]:
        """Deliver an event again, `copies` times at once; the statuses answered."""
        url = f"{self.deployment.stripe_url}/_sim/events/{event['id']}/resend"
        return list((await self._json("POST", url, {"copies": copies}))["statuses"])

    async def _admin(self, service: str, path: str) -> Json:
        token = self.deployment.keys.token("demo", "admin", "operator")
        return await self._json(
            "GET", self.deployment.internal_url(service) + path, None, {"Authorization": f"Bearer {token}"}
        )

    async def _json(
        self, method: str, url: str, body: object | None = None, headers: Mapping[str, str] | None = None
    ) -> Json:
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{method} {url} answered {answer.status}: {await answer.text()}")
            parsed: Json = await answer.json()
            return parsed
