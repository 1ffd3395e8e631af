"""A purchase over the public API, on real servers and processes."""

import asyncio
from datetime import UTC, datetime

from tests.support.shopping import Json, Shopper, eventually, uuid_of

ONCE = (1, 1, 1, 1)
TOLD_AT = "SELECT min(at) FROM checkout.order_facts WHERE order_id = $1"


async def _settled(shopper: Shopper, order: Json) -> None:
    async def probe() -> bool:
        return await shopper.effects(order) == ONCE

    await eventually(probe, what="one paid order, one reservation, one shipment, one mail")


async def test_a_purchase_ends_in_exactly_one_of_each_effect(shopper: Shopper) -> None:
    sku = await shopper.offer()

    order = await shopper.bought(sku, quantity=2)
    seen = await shopper.until(order, "paid")
    await _settled(shopper, order)

    assert seen["total_minor"] == 3600
    assert (await shopper.stock_of(sku))["committed"] == 2
    report = await shopper.audited()
    examined = {finding.predicate.number: finding.examined for finding in report.findings}
    assert examined["I01"] >= 1
    assert examined["I23"] >= 10


async def test_fifty_deliveries_and_an_alias_event_change_nothing(shopper: Shopper) -> None:
    sku = await shopper.offer()
    order = await shopper.bought(sku)
    await shopper.until(order, "paid")
    await _settled(shopper, order)
    (event,) = await shopper.events_of(order, "checkout.session.completed")

    burst = (await shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 50}))["statuses"]
    alias = (await shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 1, "alias": True}))[
        "statuses"
    ]
    await shopper.quiet()

    assert burst == [200] * 50
    assert alias == [200]
    assert await shopper.effects(order) == ONCE
    await shopper.audited()


async def test_a_webhook_that_overtakes_the_answer_is_not_lost(shopper: Shopper) -> None:
    """The session's answer is held back for 2 s; meanwhile the buyer pays and 50 ms later Stripe says so: the event
    finds the order by its reference."""
    sku = await shopper.offer(stock=500)
    rounds, at_once = 60, asyncio.Semaphore(20)
    await shopper.stripe("POST", "/_sim/chaos", {"delay_seconds": 0.05})
    delayed = {"kind": "delay", "path": "/v1/checkout/sessions", "count": rounds, "seconds": 2.0}
    await shopper.stripe("POST", "/_sim/faults", delayed)

    async def placed() -> tuple[Json, datetime]:
        async with at_once:
            answer = await shopper.checkout(sku)
            return answer.body, datetime.now(UTC)

    paying = asyncio.create_task(_pay_as_they_appear(shopper, rounds))
    placings = await asyncio.gather(*(placed() for _ in range(rounds)))
    await paying
    struck = (await shopper.stripe("GET", "/_sim/faults"))["faults"][-1]["struck"]
    await shopper.stripe("DELETE", "/_sim/faults")
    await shopper.stripe("POST", "/_sim/chaos", {})

    assert struck == rounds
    for order, answered_at in placings:
        await shopper.until(order, "paid", within=60)
        told_at = await shopper.owner.fetchval(TOLD_AT, uuid_of(order))
        assert told_at < answered_at, "the webhook was there before the order's own answer"
    await shopper.audited()


async def _pay_as_they_appear(shopper: Shopper, count: int) -> None:
    """Pay the next `count` sessions as soon as Stripe has them."""

    async def opened() -> list[Json]:
        return list((await shopper.stripe("GET", "/v1/checkout/sessions?limit=100&status=open"))["data"])

    known = {session["id"] for session in await opened()}
    awaited = len(known) + count
    while len(known) < awaited:
        for session in await opened():
            if session["id"] not in known:
                known.add(session["id"])
                assert await shopper.pay({"checkout_url": session["url"]}) == 303
        await asyncio.sleep(0.02)
