"""A buyer cancels before he has paid: stock and coupon come back, and a payment that was quicker wins."""

import asyncio
import random

import pytest

from tests.support.shopping import Answer, Json, Shopper, eventually


async def cancel(shopper: Shopper, order: Json, **headers: str) -> Answer:
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}/cancel"
    return await shopper.call("POST", url, **(headers or {"Order-Token": order["order_token"]}))


async def session_status(shopper: Shopper, order: Json) -> str:
    session = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}")
    return str(session["status"])


async def all_stock_is_back(shopper: Shopper, sku: str, total: int) -> None:
    async def back() -> bool:
        return int((await shopper.stock_of(sku))["available"]) == total

    await eventually(back, within=20, what=f"all of {sku} is on sale again")


async def test_a_canceled_order_gives_everything_back_once(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=3)
    code = await shopper.coupon(percent_off=10, max_redemptions=1)
    order = await shopper.placed(sku, quantity=3, coupon=code)
    assert (await shopper.stock_of(sku))["available"] == 0

    answers = await asyncio.gather(*(cancel(shopper, order) for _ in range(5)))

    assert {answer.status for answer in answers} == {200}
    assert {answer.body["status"] for answer in answers} == {"canceled"}
    assert {answer.body["checkout_url"] for answer in answers} == {None}
    assert await session_status(shopper, order) == "expired"
    await all_stock_is_back(shopper, sku, 3)
    coupon = (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body
    assert (coupon["held"], coupon["redeemed"]) == (0, 0)
    await shopper.quiet()
    assert (await shopper.order(order))["status"] == "canceled", "Stripe's own event of the expiry changes nothing"
    said = "SELECT count(*) FROM checkout.outbox WHERE correlation_id = $1 AND type = $2"
    assert await shopper.count(said, order["order_id"], "order.canceled.v1") == 1
    assert await shopper.count(said, order["order_id"], "order.expired.v1") == 0
    assert [await shopper.mails(order, kind) for kind in ("order_expired", "order_confirmation")] == [[], []]
    again = await shopper.placed(sku, quantity=3, coupon=code)
    assert await shopper.pay(again) == 303
    await shopper.until(again, "paid")
    await shopper.audited()


async def test_the_event_of_the_closed_page_is_no_expiry_though_it_is_heard_before_the_answer(shopper: Shopper) -> None:
    """The buyer was written that his order had expired, a moment after he had canceled it."""
    sku = await shopper.offer(stock=1)
    order = await shopper.placed(sku)
    await shopper.stripe("POST", "/_sim/faults", {"kind": "delay", "path": "/v1/checkout/sessions/cs_", "seconds": 3})

    canceling = asyncio.create_task(cancel(shopper, order))
    await shopper.until(order, "canceled", within=2.5)
    answer = await canceling

    assert (answer.status, answer.body["status"]) == (200, "canceled")
    await shopper.quiet()
    said = "SELECT array_agg(type) FROM checkout.outbox WHERE correlation_id = $1 AND type LIKE 'order.%'"
    types = await shopper.owner.fetchval(said, order["order_id"])
    assert sorted(types) == ["order.canceled.v1", "order.placed.v1"]
    await shopper.audited()


async def test_a_declined_order_can_be_canceled(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=2)
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="4000000000000002") == 402
    await shopper.until(order, "failed")

    assert (await cancel(shopper, order)).body["status"] == "canceled"

    await all_stock_is_back(shopper, sku, 2)


@pytest.mark.parametrize(
    ("given", "status"),
    [({}, "paid"), ({"card": "DE89370400440532013000", "method": "sepa_debit"}, "processing")],
)
async def test_what_is_paid_or_about_to_be_stays(shopper: Shopper, given: dict[str, str], status: str) -> None:
    order = await shopper.placed(await shopper.offer())
    assert await shopper.pay(order, **given) == 303
    await shopper.until(order, status)

    answer = await cancel(shopper, order)

    assert (answer.status, answer.body["code"], answer.body["order_status"]) == (409, "order_not_cancelable", status)
    assert (await shopper.order(order))["status"] == status


async def test_a_payment_that_no_event_told_of_yet_wins(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    try:
        assert await shopper.pay(order) == 303

        answer = await cancel(shopper, order)
    finally:
        await shopper.stripe("POST", "/_sim/chaos", {})
        await _tell_late(shopper)

    assert (answer.status, answer.body["code"], answer.body["order_status"]) == (409, "order_not_cancelable", "paid")
    await shopper.until(order, "paid")


async def _tell_late(shopper: Shopper) -> None:
    events = (await shopper.stripe("GET", "/_sim/truth"))["events"]
    for event in events:
        if not event["delivered"]:
            await shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 1})


async def test_of_a_payment_and_a_cancellation_at_once_exactly_one_wins(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=40)
    orders = [await shopper.placed(sku) for _ in range(30)]
    chance = random.Random(7)

    async def race(order: Json) -> tuple[bool, bool]:
        async def later(work: object) -> object:
            await asyncio.sleep(chance.choice((0, chance.uniform(0, 0.02), 0.5)))  # together, and one well before
            return await work  # type: ignore[misc]  # one of two coroutines

        paid, canceled = await asyncio.gather(later(shopper.pay(order)), later(cancel(shopper, order)))
        assert isinstance(canceled, Answer)
        assert canceled.status in (200, 409), canceled
        return paid == 303, canceled.status == 200

    outcomes = await asyncio.gather(*(race(order) for order in orders))

    assert all(paid is not canceled for paid, canceled in outcomes), outcomes
    assert {paid for paid, _ in outcomes} == {True, False}, "the race had both outcomes"
    for order, (paid, _) in zip(orders, outcomes, strict=True):
        await shopper.until(order, "paid" if paid else "canceled")
    await all_stock_is_back(shopper, sku, 40 - sum(paid for paid, _ in outcomes))
    await shopper.audited()


async def test_only_who_may_see_an_order_may_cancel_it(shopper: Shopper) -> None:
    sku = await shopper.offer()
    order, other = await shopper.placed(sku), await shopper.placed(sku)
    stranger = shopper.deployment.keys.token("somebody", "customer")

    for headers in ({"Order-Token": other["order_token"]}, {"Authorization": f"Bearer {stranger}"}, {"X-None": "1"}):
        answer = await cancel(shopper, order, **headers)
        assert (answer.status, answer.body["code"]) == (404, "not_found")

    assert (await shopper.order(order))["status"] == "pending"
    assert await session_status(shopper, order) == "open"


async def test_while_stripe_does_not_answer_nothing_is_decided(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    fault = {
        "kind": "error_500",
        "path": f"/v1/checkout/sessions/{await shopper.session_of(order)}/expire",
        "count": 50,
    }
    await shopper.stripe("POST", "/_sim/faults", fault)
    try:
        answer = await cancel(shopper, order)
    finally:
        await shopper.stripe("DELETE", "/_sim/faults")

    assert (answer.status, answer.body["code"]) == (503, "stripe_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await shopper.order(order))["status"] == "pending"
    assert (await cancel(shopper, order)).body["status"] == "canceled"
