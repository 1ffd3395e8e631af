"""Buyers who keep buying while things break, and what is in flight at a moment."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.ids import external_id
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of

AGAIN: Final = {409, 429, 500, 502, 503, 504}  # the same request under the same key, as the API's callers are told
SURPLUS_EVERY: Final = 8
PART_MINOR: Final = 100


@dataclass(slots=True)
class Buyers:
    """Buyers with one order each at a time. Every eighth order is paid a second time at Stripe.

    All use `coupon`, when there is one.
    """

    shopper: Shopper
    sku: str
    coupon: str | None = None
    bought: list[Json] = field(default_factory=list)
    surplus: list[Json] = field(default_factory=list)
    answers: "Counter[int]" = field(default_factory=Counter)
    last: Answer | None = None
    busy: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0

    async def run(self, count: int, *, at_least: int) -> None:
        """`count` buyers at once, until `ended` and at least so many purchases are done."""
        await asyncio.gather(*(self._buyer(at_least) for _ in range(count)))

    async def _buyer(self, at_least: int) -> None:
        while not self.ended.is_set() or self.begun < at_least:
            self.begun += 1
            await self.buy(surplus=self.begun % SURPLUS_EVERY == 0)

    async def buy(self, *, surplus: bool) -> None:
        """One purchase, repeated until it goes through; with `surplus` it is then paid once more."""
        self.busy += 1
        try:
            order = await self._placed()
            while not await self._is_paid(order):
                await asyncio.sleep(0.1)
            if surplus:
                session = order["checkout_url"].rpartition("/")[2]
                await self.shopper.stripe("POST", f"/_sim/sessions/{session}/pay_again")
                self.surplus.append(order)
            self.bought.append(order)
        finally:
            self.busy -= 1

    async def _placed(self) -> Json:
        key = secrets.token_hex(12)
        while True:
            answer = await self._tried(key)
            self.answers[answer.status if answer else 0] += 1
            self.last = answer
            if answer is not None and answer.status == 201:
                return answer.body
            assert answer is None or answer.status in AGAIN, answer
            await asyncio.sleep(0.2)

    async def _tried(self, key: str) -> Answer | None:
        try:
            return await self.shopper.checkout(self.sku, key=key, coupon=self.coupon)
        except (aiohttp.ClientError, OSError):
            return None

    async def _is_paid(self, order: Json) -> bool:
        # Stripe answers 410 for a session that is complete: an earlier try went through.
        return await self.shopper.pay(order) in (303, 410)

    async def in_flight(self) -> dict[str, int]:
        """Work that a fault can harm now: buyers between cart and payment, webhooks not yet answered, unsaid messages,
        orders without their effects, and refunds under way."""
        unsaid = " + ".join(
            f"(SELECT count(*) FROM {schema_name(name)}.outbox WHERE published_at IS NULL)" for name in SERVICES
        )
        counts = await self.shopper.owner.fetchrow(
            f"""SELECT {unsaid} AS unsaid,
                (SELECT count(*) FROM checkout.orders AS o WHERE state = 'paid' AND NOT EXISTS (
                    SELECT FROM fulfillment.shipments AS f WHERE f.order_id = o.id)) AS unshipped,
                (SELECT count(*) FROM fulfillment.shipments AS f WHERE NOT EXISTS (
                    SELECT FROM notifications.mails AS m WHERE m.order_id = f.order_id AND m.state = 'sent')) AS unmailed,
                (SELECT count(*) FROM refunds.refunds WHERE state NOT IN ('succeeded', 'failed')) AS refunding"""
        )
        assert counts is not None
        webhooks = (await self.shopper.stripe("GET", "/_sim/deliveries"))["waiting"]
        return {"buyers": self.busy, "webhooks": webhooks, **{name: int(counts[name]) for name in counts.keys()}}  # noqa: SIM118 - a record


@dataclass(slots=True)
class Clerk:
    """Gives money of one order back, part after part. Each wish is repeated under its key until it is answered."""

    shopper: Shopper
    order: Json
    given_back: int = 0

    @classmethod
    async def of(cls, shopper: Shopper, sku: str) -> "Clerk":
        """With an order that was paid, and that refunds knows."""
        order = await shopper.bought(sku)
        await shopper.until(order, "paid")
        await shopper.quiet()
        return cls(shopper, order)

    async def give_back(self) -> None:
        """One wish for a small part."""
        key = secrets.token_hex(12)
        while (answer := await self._asked(key)) is None or answer.status != 201:
            assert answer is None or answer.status >= 500, answer
            await asyncio.sleep(0.2)
        self.given_back += 1

    async def _asked(self, key: str) -> Answer | None:
        token = self.shopper.deployment.keys.token("clerk", "support")
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        wish = {"order_id": self.order["order_id"], "amount_minor": PART_MINOR, "reason": "goodwill"}
        url = f"{self.shopper.deployment.front_door_url}/api/payments/refund"
        try:
            return await self.shopper.call("POST", url, wish, **headers)
        except (aiohttp.ClientError, OSError):
            return None

    async def each_went_back_once(self) -> None:
        """Wait until each wish is one refund at Stripe, and nothing else is."""
        known = "SELECT count(*) FROM refunds.refunds WHERE order_id = $1 AND state = 'succeeded'"
        order_id = uuid_of(self.order)

        async def all_known() -> bool:
            return await self.shopper.count(known, order_id) == self.given_back

        await eventually(all_known, within=60, what=f"{self.given_back} refunds of one order")
        truth = await self.shopper.stripe("GET", "/_sim/truth")
        (intent,) = {s["payment_intent"] for s in truth["sessions"] if s["order_ref"] == self.order["order_id"]}
        amounts = [r["amount"] for r in truth["refunds"] if r["payment_intent"] == intent]
        assert amounts == [PART_MINOR] * self.given_back
        assert await self.shopper.count("SELECT count(*) FROM refunds.requests WHERE order_id = $1", order_id) == len(
            amounts
        )


async def all_end_once(buyers: Buyers, *, within: float = 90, mails_again_max: int = 0) -> None:
    """Wait until each order bought has every effect exactly once, and one refund where it was paid twice.

    A mail that was taken and not recorded is sent again under the same Message-ID, by which mailboxes know it. Each may
    come again `mails_again_max` times: once for each time that its sender died, or was not told.
    """
    await each_ends_once(
        buyers.shopper, buyers.bought, twice_paid=buyers.surplus, within=within, mails_again_max=mails_again_max
    )


async def each_ends_once(
    shopper: Shopper,
    orders: Sequence[Json],
    *,
    twice_paid: Sequence[Json] = (),
    within: float = 90,
    mails_again_max: int = 0,
) -> None:
    """Wait until each order was announced paid, committed, shipped and confirmed once, and refunded if paid twice."""
    assert orders, "nothing was bought, which proves nothing"
    twice = {order["order_id"] for order in twice_paid}
    left: dict[str, tuple[int, ...]] = {}

    async def ended() -> bool:
        seen = await effects_of(shopper, orders)
        left.clear()
        left.update({name: found for name, found in seen.items() if found != (1, 1, 1, 1, int(name in twice))})
        return not left

    try:
        await eventually(ended, within=within, every=0.2)
    except AssertionError:
        some = list(left.items())[:5]
        raise AssertionError(f"(paid, committed, shipped, mails, refunds) of {len(left)} orders: {some}") from None
    mailed = await _mailed(shopper, orders)
    assert {order: mails for order, mails in mailed.items() if len(mails) != 1} == {}, "one confirmation each"
    again = {order: mails for order, mails in mailed.items() if max(mails.values()) > 1 + mails_again_max}
    assert again == {}, f"a mail came again more than {mails_again_max} times"


async def effects_of(shopper: Shopper, orders: Sequence[Json]) -> dict[str, tuple[int, ...]]:
    """(announced as paid, committed, shipped, confirmed by mail, refunded) of each order."""
    rows = await shopper.owner.fetch(_EFFECTS, [uuid_of(order) for order in orders])
    return {external_id("ord", row["order_id"]): tuple(row)[1:] for row in rows}


_EFFECTS: Final = """
WITH wanted AS (SELECT DISTINCT unnest($1::uuid[]) AS order_id),
paid AS (
    SELECT correlation_id, count(*) AS n FROM checkout.outbox WHERE type = 'order.paid.v1' GROUP BY correlation_id
), committed AS (
    SELECT order_id, count(*) AS n FROM inventory.reservations WHERE state = 'committed' GROUP BY order_id
), shipped AS (
    SELECT order_id, count(*) AS n FROM fulfillment.shipments WHERE state <> 'canceled' GROUP BY order_id
), mailed AS (
    SELECT order_id, count(*) AS n FROM notifications.mails WHERE kind = 'order_confirmation' AND state = 'sent'
     GROUP BY order_id
), refunded AS (
    SELECT order_id, count(*) AS n FROM refunds.refunds WHERE state = 'succeeded' GROUP BY order_id
)
SELECT w.order_id, coalesce(p.n, 0)::int, coalesce(c.n, 0)::int, coalesce(s.n, 0)::int, coalesce(m.n, 0)::int,
       coalesce(r.n, 0)::int
  FROM wanted AS w
  LEFT JOIN paid AS p ON p.correlation_id = 'ord_' || replace(w.order_id::text, '-', '')
  LEFT JOIN committed AS c USING (order_id)
  LEFT JOIN shipped AS s USING (order_id)
  LEFT JOIN mailed AS m USING (order_id)
  LEFT JOIN refunded AS r USING (order_id)
"""


async def _mailed(shopper: Shopper, orders: Sequence[Json]) -> dict[str, "Counter[str]"]:
    """How often the mailbox got each confirmation of each order, by Message-ID."""
    answer = await shopper.call("GET", f"{shopper.deployment.mailbox_url}/api/messages?kind=order_confirmation")
    got: dict[str, Counter[str]] = {order["order_id"]: Counter() for order in orders}
    for mail in answer.body["messages"]:
        if mail["order_id"] in got:
            got[mail["order_id"]][mail["message_id"]] += 1
    return got


async def paid_orders(shopper: Shopper, orders: list[Json]) -> int:
    """How many of the orders checkout knows as paid."""
    ids = [uuid_of(order) for order in orders]
    return await shopper.count("SELECT count(*) FROM checkout.orders WHERE state = 'paid' AND id = ANY($1)", ids)
