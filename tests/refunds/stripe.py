"""Stripe's simulator as these tests use it: take money, arm a fault, look what was paid back."""

from dataclasses import dataclass
from typing import Any

import aiohttp

Json = dict[str, Any]
KEY = {"Authorization": "Bearer sk_test_looking"}


@dataclass(frozen=True, slots=True)
class StripeBeside:
    """One simulator."""

    http: aiohttp.ClientSession

    async def captured(self, amount: int, currency: str = "usd") -> str:
        """A payment that was taken; the id of its intent."""
        form = {
            "amount": str(amount),
            "currency": currency,
            "payment_method": "pm_card_visa",
            "payment_method_types[]": "card",
            "confirm": "true",
        }
        async with self.http.post("/v1/payment_intents", data=form, headers=KEY) as answer:
            intent = await answer.json()
        assert intent["status"] == "succeeded", intent
        return str(intent["id"])

    async def refund_by_hand(self, payment_intent: str, amount: int) -> None:
        """Somebody refunds in Stripe's dashboard."""
        form = {"payment_intent": payment_intent, "amount": str(amount)}
        async with self.http.post("/v1/refunds", data=form, headers=KEY) as answer:
            assert answer.status == 200, await answer.text()

    async def refunds_of(self, payment_intent: str) -> list[Json]:
        """What Stripe paid back."""
        async with self.http.get(f"/v1/refunds?payment_intent={payment_intent}", headers=KEY) as answer:
            return list((await answer.json())["data"])

    async def arm(self, kind: str, path: str = "/v1/refunds", method: str = "POST", **given: object) -> None:
        """A fault for the next requests."""
        body = {"kind": kind, "path": path, "method": method, **given}
        async with self.http.post("/_sim/faults", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def struck(self) -> int:
        """How often the armed faults took effect."""
        async with self.http.get("/_sim/faults") as answer:
            return sum(fault["struck"] for fault in (await answer.json())["faults"])

    async def disarm(self) -> None:
        """No more faults."""
        async with self.http.delete("/_sim/faults") as answer:
            assert answer.status == 200

    async def becomes(self, refund: str, status: str) -> None:
        """A refund moves to `status` at Stripe, as banks decide."""
        async with self.http.post(f"/_sim/refunds/{refund}", json={"status": status}) as answer:
            assert answer.status == 200, await answer.text()
