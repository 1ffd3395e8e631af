"""A purchase over the public API, on real servers and processes."""

import asyncio

from tests.support.shopping import Json, Shopper, eventually

ONCE = (1, 1, 1, 1)


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
    examined = {finding.predicate.name[:3]: finding.examined for finding in report.findings}
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
    """The session's answer is held back while the buyer already pays: the event finds the order by its reference."""
    sku = await shopper.offer(stock=500)
    rounds, at_once = 200, asyncio.Semaphore(40)
    await shopper.stripe(
        "POST",
        "/_sim/faults",
        {"kind": "delay", "path": "/v1/checkout/sessions", "count": rounds, "seconds": 2.0},
    )

    async def one() -> Json:
        async with at_once:
            return await overtaken()

    async def overtaken() -> Json:
        placing = asyncio.create_task(shopper.checkout(sku))
        order_id = None
        while order_id is None:
            open_sessions = (await shopper.stripe("GET", "/v1/checkout/sessions?limit=100&status=open"))["data"]
            paid = [s for s in open_sessions if s["client_reference_id"] not in claimed]
            if paid:
                claimed.add(paid[0]["client_reference_id"])
                order_id = paid[0]["client_reference_id"]
                assert await shopper.pay({"checkout_url": paid[0]["url"]}) == 303
            else:
                await asyncio.sleep(0.05)
        return (await placing).body

    claimed: set[str] = set()
    before = await shopper.stripe("GET", "/v1/checkout/sessions?limit=100&status=open")
    claimed.update(s["client_reference_id"] for s in before["data"])
    orders = await asyncio.gather(*(one() for _ in range(rounds)))
    struck = (await shopper.stripe("GET", "/_sim/faults"))["faults"][-1]["struck"]
    await shopper.stripe("DELETE", "/_sim/faults")

    assert struck == rounds
    for order in orders:
        await shopper.until(order, "paid", within=60)
    await shopper.audited()
