"""Signed-in customers of the shop, and what they save to pay with."""

import secrets
from dataclasses import dataclass
from typing import Final

from tests.support.shopping import Answer, Json, Shopper, eventually

CARD: Final = "4242424242424242"


@dataclass(slots=True)
class Person:
    """A signed-in customer of the shop."""

    shopper: Shopper
    subject: str

    async def call(self, method: str, path: str = "", body: object | None = None, **headers: str) -> Answer:
        """A call below `/api/payments/methods`."""
        token = self.shopper.deployment.keys.token(self.subject, "customer", email=f"{self.subject}@example.com")
        url = f"{self.shopper.deployment.front_door_url}/api/payments/methods{path}"
        return await self.shopper.call(method, url, body, Authorization=f"Bearer {token}", **headers)

    async def add(self, key: str | None = None, **body: str) -> Answer:
        """Begin to save a method."""
        return await self.call("POST", "", body, **{"Idempotency-Key": key or secrets.token_hex(12)})

    async def methods(self) -> list[Json]:
        """What he saved."""
        answer = await self.call("GET")
        assert answer.status == 200, answer
        return list(answer.body["methods"])

    async def has(self, count: int) -> list[Json]:
        """What he saved, once it is so many."""

        async def probe() -> list[Json] | None:
            found = await self.methods()
            return found if len(found) == count else None

        if count == 0:
            await eventually(lambda: _is_empty(self), what=f"{self.subject} has no method")
            return []
        return list(await eventually(probe, what=f"{self.subject} has {count} methods"))

    async def fill(self, url: str, number: str = CARD, **form: str) -> int:
        """Submit Stripe's page, and answer the bank if it asks."""
        data = {"number": number, "method": "card", "name": "Ada", "expiry": "12 / 34", **form}
        async with self.shopper.http.post(url, data=data, allow_redirects=False) as answer:
            await answer.read()
            status, where = answer.status, answer.headers.get("Location", "")
        if not where.startswith("/c/challenge/"):
            return status
        url = self.shopper.deployment.stripe_url + where
        async with self.shopper.http.post(url, data={"answer": "complete"}, allow_redirects=False) as answer:
            await answer.read()
            return answer.status

    async def saves(self, number: str = CARD, **form: str) -> Json:
        """Save a method on Stripe's page, and return it once it is known here."""
        before = {method["id"] for method in await self.methods()}
        answer = await self.add()
        assert answer.status == 201, answer
        assert await self.fill(answer.body["url"], number, **form) == 303
        found = await self.has(len(before) + 1)
        return next(method for method in found if method["id"] not in before)

    async def buys(
        self, sku: str, *, quantity: int = 1, key: str | None = None, url: str | None = None, **given: object
    ) -> Answer:
        """`POST /api/payments/one-click` through the front door, or of the instance at `url`."""
        token = self.shopper.deployment.keys.token(self.subject, "customer", email=f"{self.subject}@example.com")
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or secrets.token_hex(12)}
        body = {"lines": [{"sku": sku, "quantity": quantity}], "currency": "usd", **given}
        door = url or self.shopper.deployment.front_door_url
        return await self.shopper.call("POST", f"{door}/api/payments/one-click", body, **headers)

    async def stripe_customer(self) -> str:
        """His customer at Stripe."""
        sql = "SELECT stripe_customer_id FROM checkout.customers WHERE subject = $1"
        return str(await self.shopper.owner.fetchval(sql, self.subject))


async def _is_empty(person: Person) -> bool:
    return await person.methods() == []
