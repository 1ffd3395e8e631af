"""What comes after a purchase: staff who give money back, somebody in Stripe's dashboard, and banks that take it.

Each visit says what its buyer must have got back once everything has come to rest: one of several sums, where that
depends on what was known when.
"""

import asyncio
import itertools
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from tests.faults.chaos.wanted import Json, Visit

NOT_NOW: Final = (0, 429, 500, 502, 503, 504)
REFUND: Final = "/api/payments/refund"
TWINS: Final = 4  # refunds of a half at once, of which two have room
PAUSE_SECONDS, PAUSE_MAX_SECONDS = 0.3, 3.0
DASHBOARD: Final = {"Authorization": "Bearer sk_test_dashboard"}


@dataclass(frozen=True, slots=True)
class Bought:
    """A paid order: its id, its session at Stripe, and what was paid in minor units."""

    order_id: str
    session: str
    total_minor: int


@dataclass(slots=True)
class Clerks:
    """All of them. `tokens` are those of a person by role; `done` counts what they did."""

    front_door: str
    stripe: str
    tokens: Mapping[str, str]
    http: aiohttp.ClientSession
    done: dict[str, int] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=random.Random)

    async def follow(self, visit: Visit, order: Bought) -> frozenset[int]:
        """Do what `visit` is about; what its buyer may have got back at the end."""
        return await self._ways()[visit](order)

    def _ways(self) -> Mapping[Visit, Callable[[Bought], Awaitable[frozenset[int]]]]:
        return {
            Visit.REFUNDED: self._whole, Visit.PARTLY_REFUNDED: self._part, Visit.REFUNDED_AT_ONCE: self._twins,
            Visit.REFUND_REFUSED: self._refused, Visit.DASHBOARD: self._dashboard, Visit.REFUND_FAILS: self._fails,
            Visit.DISPUTE_WON: self._won, Visit.DISPUTE_LOST: self._lost, Visit.INQUIRY: self._inquiry,
            Visit.ESCALATED: self._escalated, Visit.REFUND_DISPUTED: self._beside,
        }  # fmt: skip

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    # -- refunds -----------------------------------------------------------------------------------------------------

    async def _whole(self, order: Bought) -> frozenset[int]:
        assert await self._refund(order) == "given"
        return frozenset({order.total_minor})

    async def _part(self, order: Bought) -> frozenset[int]:
        part = order.total_minor // 3
        assert await self._refund(order, part) == "given"
        return frozenset({part})

    async def _twins(self, order: Bought) -> frozenset[int]:
        half = order.total_minor // 2
        found = await asyncio.gather(*(self._refund(order, half) for _ in range(TWINS)))
        assert sorted(found) == ["given"] * 2 + ["no room"] * (TWINS - 2), found
        return frozenset({2 * half})

    async def _refused(self, order: Bought) -> frozenset[int]:
        """Above the limit, so that a second person is asked, who says no."""
        assert await self._refund(order, decision="reject") == "refused"
        return frozenset({0})

    async def _refund(self, order: Bought, amount_minor: int | None = None, *, decision: str = "approve") -> str:
        """Ask for a refund, of everything without an amount; where a second person is wanted, he decides."""
        body: Json = {"order_id": order.order_id, "reason": "goodwill"}
        body |= {} if amount_minor is None else {"amount_minor": amount_minor}
        status, made = await self._staff("POST", REFUND, body, "support")
        if status == 409 and made["code"] in ("amount_exceeds_refundable", "nothing_refundable"):
            self._count("refunds without room")
            return "no room"
        assert status == 201, (status, made)
        self._count("refunds asked for")
        if made["status"] != "awaiting_approval":
            return "given"
        if decision == "approve":
            seen = {name: made[name] for name in ("amount_minor", "currency", "version")}
            status, decided = await self._decide(made, "approve", seen)
            if status == 200:
                self._count("refunds approved")
                return "given"
            # The bank took the money back before a second person looked, who can only say no.
            assert decided["code"] == "amount_exceeds_refundable", (status, decided)
        status, decided = await self._decide(made, "reject", {})
        assert status == 200, (status, decided)
        assert decided.get("refund_status", "rejected") == "rejected", decided
        self._count("refunds rejected")
        return "refused"

    async def _decide(self, made: Json, decision: str, body: Json) -> tuple[int, Json]:
        """What a second person is answered; that it is decided already is a first answer that was lost."""
        status, decided = await self._staff("POST", f"{REFUND}s/{made['refund_id']}/{decision}", body, "approver")
        return (200, decided) if decided.get("code") in ("already_decided", "refund_changed") else (status, decided)

    async def _dashboard(self, order: Bought) -> frozenset[int]:
        part = order.total_minor // 4
        charge = await self._charge(order)
        await self._at_stripe("POST", "/v1/refunds", form={"charge": charge["id"], "amount": str(part)})
        self._count("refunds in the dashboard")
        return frozenset({part})

    async def _fails(self, order: Bought) -> frozenset[int]:
        """The bank returns what had succeeded."""
        part = order.total_minor // 3
        assert await self._refund(order, part) == "given"
        charge, refund = await self._charge(order), await self._sent(order)
        assert refund["charge"] == charge["id"]
        await self._at_stripe("POST", f"/_sim/refunds/{refund['id']}", {"status": "failed"})
        self._count("refunds that failed later")
        return frozenset({0})

    async def _sent(self, order: Bought) -> Json:
        """The one refund of an order at Stripe, once it is there."""
        intent = (await self._charge(order))["payment_intent"]
        while True:
            found = (await self._at_stripe("GET", f"/v1/refunds?payment_intent={intent}"))["data"]
            if found:
                return dict(found[0])
            await asyncio.sleep(self._chance.uniform(0.5, 1.5))

    # -- disputes ----------------------------------------------------------------------------------------------------

    async def _won(self, order: Bought) -> frozenset[int]:
        dispute = await self._disputed(order)
        await self._decided(dispute, won=True)
        return frozenset({0})

    async def _lost(self, order: Bought) -> frozenset[int]:
        """Where nothing was sent yet, nothing is, and what the bank has left goes back."""
        part = order.total_minor // 2
        dispute = await self._disputed(order, amount=part)
        await self._decided(dispute, won=False)
        return frozenset({0, order.total_minor - part})

    async def _inquiry(self, order: Bought) -> frozenset[int]:
        dispute = await self._disputed(order, inquiry=True)
        await self._decided(dispute, won=False)
        return frozenset({0})

    async def _escalated(self, order: Bought) -> frozenset[int]:
        dispute = await self._disputed(order, inquiry=True)
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await self._at_stripe("POST", f"/_sim/disputes/{dispute}/escalate")
        await self._decided(dispute, won=False)
        return frozenset({0})

    async def _beside(self, order: Bought) -> frozenset[int]:
        """A dispute of a part, and a refund of all that was paid beside it: it has no room, waits for the end of the
        dispute, or was there before."""
        part, won = order.total_minor * 3 // 5, self._chance.random() < 0.5
        refunding = asyncio.create_task(self._refund(order, order.total_minor))
        dispute = await self._disputed(order, amount=part)
        asked = await refunding
        await self._decided(dispute, won=won)
        if won:
            return frozenset({order.total_minor if asked == "given" else 0})
        # Where the refund was there before, Stripe refunded it all, or else what was not sent yet gives back the rest.
        return frozenset({0, order.total_minor - part} | ({order.total_minor} if asked == "given" else set()))

    async def _disputed(self, order: Bought, **given: object) -> str:
        charge = await self._charge(order)
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await self._at_stripe("POST", f"/_sim/charges/{charge['id']}/dispute", given)
        [found] = (await self._at_stripe("GET", f"/v1/disputes?charge={charge['id']}"))["data"]
        self._count("inquiries" if given.get("inquiry") else "disputes")
        return str(found["id"])

    async def _decided(self, dispute: str, *, won: bool) -> None:
        await asyncio.sleep(self._chance.uniform(0.2, 3.0))
        await self._at_stripe("POST", f"/_sim/disputes/{dispute}", {"won": won})
        self._count("disputes won" if won else "disputes lost or closed")

    # -- calls -------------------------------------------------------------------------------------------------------

    async def _charge(self, order: Bought) -> Json:
        """The charge that paid an order."""
        session = await self._at_stripe("GET", f"/v1/checkout/sessions/{order.session}")
        listed = await self._at_stripe("GET", f"/v1/charges?payment_intent={session['payment_intent']}")
        [paid] = [charge for charge in listed["data"] if charge["status"] == "succeeded"]
        return dict(paid)

    async def _staff(self, method: str, path: str, body: Json, role: str) -> tuple[int, Json]:
        """What a member of staff is answered at last: under one key, until the order is known and somebody answers."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}", "Idempotency-Key": secrets.token_hex(12)}
        for tries in itertools.count():
            status, answer = await self._once(method, self.front_door + path, headers, json=body)
            if status not in NOT_NOW and answer.get("code") not in ("order_not_found", "idempotency_in_flight"):
                return status, answer
            await asyncio.sleep(min(PAUSE_SECONDS * 2**tries, PAUSE_MAX_SECONDS) * self._chance.uniform(0.8, 1.2))
        raise AssertionError("staff never stops asking")

    async def _at_stripe(
        self, method: str, path: str, body: object | None = None, *, form: Mapping[str, str] | None = None
    ) -> Any:  # Any: JSON
        """Something done at Stripe, again until it is: faults there strike whoever asks. What was done before, and whose
        answer was lost, is refused with 400."""
        arguments: dict[str, Any] = {"data": dict(form)} if form else {"json": body} if body is not None else {}
        key, failures = secrets.token_hex(12), 0
        for tries in itertools.count():
            # A failure of Stripe's own is kept under the key, and had no effect here.
            headers = DASHBOARD | ({"Idempotency-Key": f"{key}{failures}"} if form else {})
            status, answer = await self._once(method, self.stripe + path, headers, **arguments)
            if status == 200 or (status == 400 and tries):
                return answer
            assert status in (*NOT_NOW, 409), (path, status, answer)
            failures += status == 500
            await asyncio.sleep(0.2 * (tries + 1))
        raise AssertionError("nobody stops asking")

    async def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        **arguments: Any,  # Any: JSON or a form
    ) -> tuple[int, Json]:
        """One try: the status, 0 when there was no answer, and the body."""
        try:
            async with self.http.request(method, url, headers=headers, **arguments) as answer:
                return answer.status, dict(await answer.json(content_type=None) or {})
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return 0, {}
