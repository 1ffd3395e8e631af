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

    async def captured(self, amount: int, currency: str = "usd", *, card: str = "pm_card_visa") -> str:
        """A payment that was taken from a card; the id of its intent."""
        form = {
            "amount": str(amount),
            "currency": currency,
            "payment_method": card,
            "payment_method_types[]": "card",
            "confirm": "true",
        }
        async with self.http.post("/v1/payment_intents", data=form, headers=KEY) as answer:
            intent = await answer.json()
        assert intent["status"] == "succeeded", intent
        return str(intent["id"])

    async def refund_by_hand(self, payment_intent: str, amount: int, *, refund_id: str | None = None) -> None:
        """Somebody refunds in Stripe's dashboard; with `refund_id` he writes the id of a refund of ours into it."""
        form = {"payment_intent": payment_intent, "amount": str(amount)}
        if refund_id is not None:
            form["metadata[refund_id]"] = refund_id
        async with self.http.post("/v1/refunds", data=form, headers=KEY) as answer:
            assert answer.status == 200, await answer.text()

    async def move_refund(self, refund_id: str, status: str) -> Json:
        """A refund goes on at Stripe; as it is then."""
        async with self.http.post(f"/_sim/refunds/{refund_id}", json={"status": status}) as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())

    async def refunds_of(self, payment_intent: str) -> list[Json]:
        """What Stripe paid back."""
        async with self.http.get(f"/v1/refunds?payment_intent={payment_intent}", headers=KEY) as answer:
            return list((await answer.json())["data"])

    async def file(self, file_id: str) -> bytes:
        """What was uploaded."""
        async with self.http.get(f"/_sim/files/{file_id}") as answer:
            return await answer.read()

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

    async def advance(self, seconds: float) -> None:
        """Stripe's clock goes forward."""
        async with self.http.post("/_sim/clock", json={"advance_seconds": seconds}) as answer:
            assert answer.status == 200, await answer.text()

    async def becomes(self, refund: str, status: str) -> None:
        """A refund moves to `status` at Stripe, as banks decide."""
        async with self.http.post(f"/_sim/refunds/{refund}", json={"status": status}) as answer:
            assert answer.status == 200, await answer.text()

    async def disputed(self, payment_intent: str, amount: int | None = None, **given: object) -> Json:
        """The bank of whoever paid disputes so much of a payment, or only asks about it."""
        body = given if amount is None else {"amount": amount, **given}
        return await self._control(f"charges/{await self._charge_of(payment_intent)}/dispute", body)

    async def dispute(self, dispute: str) -> Json:
        """A dispute as it is."""
        async with self.http.get(f"/v1/disputes/{dispute}", headers=KEY) as answer:
            return dict(await answer.json())

    async def decided(self, dispute: str, *, won: bool) -> Json:
        """The bank decides."""
        return await self._control(f"disputes/{dispute}", {"won": won})

    async def escalated(self, dispute: str) -> Json:
        """An inquiry becomes a dispute."""
        return await self._control(f"disputes/{dispute}/escalate", {})

    async def warned(self, payment_intent: str) -> Json:
        """A card network warns of a payment."""
        return await self._control(f"charges/{await self._charge_of(payment_intent)}/warn", {})

    async def _charge_of(self, payment_intent: str) -> str:
        async with self.http.get(f"/v1/payment_intents/{payment_intent}", headers=KEY) as answer:
            return str((await answer.json())["latest_charge"])

    async def _control(self, path: str, body: Json) -> Json:
        async with self.http.post(f"/_sim/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())
