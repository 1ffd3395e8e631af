"""Signed-in customers who pay with store credit."""

import secrets
from dataclasses import dataclass, field

from tests.support.people import Person
from tests.support.shopping import Answer, Json, Shopper, eventually


async def gives(
    shopper: Shopper, administrator: str, grant: Json, *, at: str | None = None, email: str | None = None
) -> Answer:
    """An administrator gives store credit, at the internal URL `at` of a process of checkout."""
    token = shopper.deployment.keys.token(administrator, "admin", email=email)
    url = (at or shopper.deployment.internal_url("checkout")) + "/admin/store-credits"
    return await shopper.call("POST", url, grant, Authorization=f"Bearer {token}")


@dataclass(slots=True)
class Holder:
    """A signed-in customer with store credit."""

    shopper: Shopper
    subject: str = field(default_factory=lambda: "ada-" + secrets.token_hex(5))

    @property
    def person(self) -> Person:
        """The same customer with what he saved."""
        return Person(self.shopper, self.subject)

    def headers(self) -> dict[str, str]:
        """What shows who he is."""
        token = self.shopper.deployment.keys.token(self.subject, "customer", email=f"{self.subject}@example.com")
        return {"Authorization": f"Bearer {token}"}

    async def given(self, amount_minor: int, **more: object) -> Json:
        """Credit in dollars, given by an administrator who gives to nobody else: he may give so much in a day."""
        reference = "t-" + secrets.token_hex(6)
        body = {
            "customer": self.subject,
            "currency": "usd",
            "amount_minor": amount_minor,
            "reference": reference,
            **more,
        }
        answer = await gives(self.shopper, f"giver-of-{self.subject}", body)
        assert answer.status == 201, answer
        return answer.body

    async def call(self, method: str, path: str, body: object | None = None, **headers: str) -> Answer:
        """A call below `/api/payments`."""
        url = f"{self.shopper.deployment.front_door_url}/api/payments{path}"
        return await self.shopper.call(method, url, body, **self.headers(), **headers)

    async def orders(self, sku: str, *, quantity: int = 1, key: str | None = None, **given: object) -> Answer:
        """Place an order that uses what he has."""
        body = {"lines": [{"sku": sku, "quantity": quantity}], "currency": "usd", "use_store_credit": True, **given}
        return await self.call("POST", "/checkout-session", body, **{"Idempotency-Key": key or secrets.token_hex(12)})

    async def placed(self, sku: str, **given: object) -> Json:
        """A placed order; asked for again under the same key where somebody else was in the way for too long."""
        key = secrets.token_hex(12)

        async def asked() -> Answer | None:
            answer = await self.orders(sku, key=key, **given)  # type: ignore[arg-type]
            return None if answer.status == 503 or answer.body.get("code") == "idempotency_in_flight" else answer

        answer: Answer = await eventually(asked, within=30, every=0.5, what="the order is placed")
        assert answer.status == 201, answer
        return answer.body

    async def statement(self, query: str = "?limit=100") -> Json:
        """His balances and statement."""
        answer = await self.call("GET", f"/store-credit{query}")
        assert answer.status == 200, answer
        return answer.body

    async def has(self) -> tuple[int, int]:
        """What he may use, and what is reserved, in dollars."""
        for balance in (await self.statement())["balances"]:
            if balance["currency"] == "usd":
                return balance["available_minor"], balance["reserved_minor"]
        return 0, 0

    async def entered(self) -> list[tuple[str, int]]:
        """What happened to his credit, the first first."""
        return [(entry["kind"], entry["amount_minor"]) for entry in (await self.statement())["entries"]][::-1]
