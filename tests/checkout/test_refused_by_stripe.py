"""Stripe says no for good: one canceled order, one answer, and everything given back."""

import secrets

from tests.support.shopping import Shopper, eventually


async def test_a_definite_no_is_one_answer_and_one_order(shopper: Shopper) -> None:
    """It was answered 503, and each repetition placed another order."""
    sku, key = await shopper.offer(stock=2), secrets.token_hex(12)
    code = await shopper.coupon(percent_off=10, max_redemptions=1)
    await shopper.stripe(
        "POST", "/_sim/faults", {"kind": "refuse", "path": "/v1/checkout/sessions", "count": 50, "method": "POST"}
    )
    try:
        first = await shopper.checkout(sku, key=key, coupon=code)
        again = await shopper.checkout(sku, key=key, coupon=code)
    finally:
        await shopper.stripe("DELETE", "/_sim/faults")

    assert [(answer.status, answer.body["code"]) for answer in (first, again)] == [(502, "stripe_refused")] * 2
    assert again.headers["Idempotency-Replayed"] == "true"
    placed = "SELECT count(*) FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1"
    assert await shopper.count(placed, sku) == 1
    assert await shopper.count(placed + " AND state = 'canceled'", sku) == 1

    async def back() -> bool:
        return int((await shopper.stock_of(sku))["available"]) == 2

    await eventually(back, within=20, what="the stock is back")
    assert (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body["held"] == 0
    assert (await shopper.checkout(sku, coupon=code)).status == 201
