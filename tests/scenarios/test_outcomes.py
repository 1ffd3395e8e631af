"""Every way a payment can go, over the public API."""

import asyncio
import secrets

from payments_shared.ids import external_id
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of


async def test_declined_then_paid_on_the_second_card_is_one_order_and_no_bad_news(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=3)
    order = await shopper.placed(sku)

    assert await shopper.pay(order, card="4000000000000002") == 402
    await shopper.until(order, "failed")
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    await shopper.quiet()

    assert await shopper.effects(order) == (1, 1, 1, 1)
    assert not await shopper.mails(order, "payment_retry")
    assert not await shopper.mails(order, "payment_failed")
    await shopper.audited()


async def test_declined_and_abandoned_gives_the_stock_back_and_offers_to_retry(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=3)
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="4000000000009995") == 402
    await shopper.until(order, "failed")
    assert (await shopper.stock_of(sku))["held"] == 1

    await shopper.advance(570)
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["held"] == 1, "most buyers are trying another card"
    await shopper.advance(31)

    async def freed() -> bool:
        return bool((await shopper.stock_of(sku))["available"] == 3)

    await eventually(freed, what="the stock back")
    (mail,) = await eventually(lambda: shopper.mails(order, "payment_retry"), what="the mail with the retry link")
    assert mail["recipient"] == "ada@example.com"
    for part in await shopper.mail_parts(mail):
        assert f"{shopper.deployment.shop_url}/recover?order_id={order['order_id']}&token=" in part
        assert "There is not enough money in the account." in part
    await shopper.audited()


async def test_late_money_after_the_stock_is_gone_is_paid_back_with_an_apology(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=1)
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="4000000000000002") == 402
    await shopper.until(order, "failed")
    await shopper.advance(601)
    await eventually(lambda: shopper.mails(order, "payment_retry"), what="the order is abandoned")
    winner = await shopper.bought(sku)
    await shopper.until(winner, "paid")
    await shopper.quiet()

    assert await shopper.pay(order) == 303

    async def refunded() -> bool:
        return bool((await shopper.order(order))["refunded_minor"] == 1800)

    await eventually(refunded, within=60, what="the refund of the late payment")
    await eventually(lambda: shopper.mails(order, "refund_succeeded"), what="the apology")
    await shopper.quiet()
    truth = await shopper.stripe("GET", "/_sim/truth")
    intents = [s["payment_intent"] for s in truth["sessions"] if s["order_ref"] == order["order_id"]]
    assert [r["amount"] for r in truth["refunds"] if r["payment_intent"] in intents] == [1800]
    await shopper.audited()


async def test_an_order_paid_twice_keeps_one_payment_and_refunds_the_other_once(shopper: Shopper) -> None:
    sku = await shopper.offer()
    order = await shopper.bought(sku)
    await shopper.until(order, "paid")
    (completed,) = await shopper.events_of(order, "checkout.session.completed")

    twin = await shopper.stripe("POST", f"/_sim/sessions/{completed['data']['object']['id']}/pay_again")

    async def refunds() -> list[Json]:
        truth = await shopper.stripe("GET", "/_sim/truth")
        return [r for r in truth["refunds"] if r["payment_intent"] == twin["payment_intent"]]

    (refund,) = await eventually(refunds, within=60, what="the refund of the second payment")
    await shopper.quiet()
    assert (refund["amount"], refund["status"]) == (1800, "succeeded")
    assert len(await refunds()) == 1
    assert await shopper.effects(order) == (1, 1, 1, 1)
    await shopper.audited()


async def test_an_expired_session_gives_stock_and_coupon_back(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=2)
    code = await shopper.coupon(percent_off=10, max_redemptions=1)
    order = await shopper.placed(sku, coupon=code)
    assert (order["discount_minor"], order["total_minor"]) == (180, 1620)
    taken = await shopper.checkout(sku, coupon=code)
    assert (taken.status, taken.body["code"]) == (409, "coupon_exhausted")

    await shopper.advance(3700)

    await shopper.until(order, "expired")
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["available"] == 2
    coupon = (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body
    assert (coupon["held"], coupon["redeemed"]) == (0, 0)
    await shopper.audited()


async def test_a_coupon_is_used_up_by_the_paid_order(shopper: Shopper) -> None:
    sku = await shopper.offer()
    code = await shopper.coupon(amounts_off={"usd": 500}, max_redemptions=1)

    order = await shopper.bought(sku, coupon=code)
    seen = await shopper.until(order, "paid")

    assert (seen["discount_minor"], seen["total_minor"]) == (500, 1300)
    coupon = (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body
    assert (coupon["held"], coupon["redeemed"]) == (0, 1)
    await shopper.audited()


async def test_a_delayed_debit_keeps_the_stock_and_ships_when_the_money_arrives(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=2)
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="DE89370400440532013000", method="sepa_debit") == 303
    await shopper.until(order, "processing")
    await shopper.advance(7200)
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["held"] == 1
    (completed,) = await shopper.events_of(order, "checkout.session.completed")

    await shopper.stripe("POST", f"/_sim/sessions/{completed['data']['object']['id']}/settle", {"succeed": True})

    await shopper.until(order, "paid")
    await shopper.quiet()
    assert await shopper.effects(order) == (1, 1, 1, 1)
    await shopper.audited()


async def test_a_delayed_debit_that_fails_releases_everything_and_says_so(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=2)
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="DE89370400440532013000", method="sepa_debit") == 303
    await shopper.until(order, "processing")
    (completed,) = await shopper.events_of(order, "checkout.session.completed")

    await shopper.stripe("POST", f"/_sim/sessions/{completed['data']['object']['id']}/settle", {"succeed": False})

    await shopper.until(order, "failed")
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["available"] == 2
    assert len(await shopper.mails(order, "payment_failed")) == 1
    await shopper.audited()


async def test_a_delayed_debit_whose_failure_nobody_told_is_asked_after_and_ends(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=2)
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="DE89370400440532013000", method="sepa_debit") == 303
    await shopper.until(order, "processing")
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    await shopper.stripe("POST", f"/_sim/sessions/{await shopper.session_of(order)}/settle", {"succeed": False})
    await shopper.stripe("POST", "/_sim/chaos", {})

    await shopper.advance(700)

    await shopper.until(order, "failed")
    await eventually(lambda: shopper.mails(order, "payment_failed"), what="the mail of the failure")
    assert await _tell_late(shopper)
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["available"] == 2
    assert len(await shopper.mails(order, "payment_failed")) == 1, "what is told late changes nothing"
    await shopper.audited()


async def _tell_late(shopper: Shopper) -> list[str]:
    """Deliver what Stripe never delivered; the ids of those events."""
    events = (await shopper.stripe("GET", "/_sim/truth"))["events"]
    untold = [event["id"] for event in events if not event["delivered"]]
    for event_id in untold:
        assert (await shopper.stripe("POST", f"/_sim/events/{event_id}/resend", {"copies": 1}))["statuses"] == [200]
    return untold


async def _served(shopper: Shopper, sku: str) -> Answer:
    """The answer to a buyer who asks again, with his key, when a machine that is too slow for them all says so."""
    key = secrets.token_hex(12)
    for _ in range(10):
        answer = await shopper.checkout(sku, key=key)
        if answer.status != 503:
            break
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    return answer


async def test_two_hundred_buyers_of_ten_pieces(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=10)

    answers = await asyncio.gather(*(_served(shopper, sku) for _ in range(200)))

    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (10, 190)
    assert all(a.body["available"][0]["available"] == 0 for a in answers if a.status == 409)
    truth = await shopper.stripe("GET", "/_sim/truth")
    won = {a.body["order_id"] for a in answers if a.status == 201}
    placed = await shopper.owner.fetch("SELECT id FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku)
    names = {external_id("ord", row["id"]) for row in placed}
    assert len(names) == 200
    assert {s["order_ref"] for s in truth["sessions"] if s["order_ref"] in names} == won
    assert sum(s["order_ref"] in names for s in truth["sessions"]) == 10
    assert await shopper.stock_of(sku) == {"sku": sku, "total": 10, "available": 0, "held": 10, "committed": 0}
    lost = await shopper.count(
        "SELECT count(*) FROM checkout.orders WHERE state = 'canceled' AND lines -> 0 ->> 'sku' = $1", sku
    )
    assert lost == 190
    await shopper.audited()


async def test_a_mismatch_is_held_and_paid_back_when_nobody_releases_it(shopper: Shopper) -> None:
    sku = await shopper.offer()
    order = await shopper.placed(sku)
    session_id = order["checkout_url"].rpartition("/")[2]
    await shopper.stripe("POST", f"/_sim/sessions/{session_id}/reprice", {"amount": 1700})

    assert await shopper.pay(order) == 303
    seen = await shopper.until(order, "paid")
    await eventually(lambda: shopper.mails(order, "order_held"), what="staff are told")
    assert seen["held"]
    assert await shopper.count("SELECT count(*) FROM fulfillment.shipments WHERE order_id = $1", uuid_of(order)) == 0
    await shopper.advance(260_000)

    async def refunded() -> bool:
        return bool((await shopper.order(order))["refunded_minor"] == 1700)

    await eventually(refunded, within=60, what="the money goes back after the deadline")
    # The jump of the clock passes the hold's own deadline too; whichever comes first, the message is said.
    said = "SELECT reason FROM inventory.reservation_transitions WHERE order_id = $1 AND to_state = 'released'"
    assert await eventually(
        lambda: shopper.owner.fetchval(said, uuid_of(order)), what="the stock back on the shelf"
    ) in {"canceled", "deadline"}
    assert (await shopper.said_about(order, "order.canceled.v1")) != set()
    await shopper.audited()
