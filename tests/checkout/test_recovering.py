"""An order that ended is taken up again, at today's prices: one at a time, and money for the old one goes back."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from checkout.decide.recovering import Links
from payments_shared.clock import utc_now
from tests.support.instances import another_checkout
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(loop_scope="session")
async def expired(shopper: Shopper) -> AsyncIterator[Json]:
    """An order of two pieces of `shopper.goods` whose page has closed, and whose goods are on sale again."""
    await shopper.offer(sku=shopper.goods, stock=10)
    order = await left(shopper, shopper.goods, quantity=2)

    async def given_back() -> bool:
        return bool((await shopper.stock_of(shopper.goods))["available"] == 10)

    await eventually(given_back, what="the goods on sale again")
    yield order


async def left(shopper: Shopper, sku: str, **given: object) -> Json:
    order = await shopper.placed(sku, **given)
    await closed(shopper, order)
    return order


async def closed(shopper: Shopper, order: Json) -> None:
    await shopper.stripe("POST", f"/v1/checkout/sessions/{await shopper.session_of(order)}/expire")
    await shopper.until(order, "expired")


async def recover(shopper: Shopper, order: Json, key: str | None = None, **headers: str) -> Answer:
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}/recover"
    shown = headers or {"Order-Token": order["order_token"]}
    return await shopper.call("POST", url, **shown, **{"Idempotency-Key": key or secrets.token_hex(12)})


async def offer(shopper: Shopper, order: Json, **headers: str) -> Answer:
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}/recovery"
    return await shopper.call("GET", url, **(headers or {"Order-Token": order["order_token"]}))


def link(shopper: Shopper, order: Json, seconds: int = 10**7) -> dict[str, str]:
    """The token of the link in a mail about `order`; other tests have moved the business clock ahead."""
    secret = shopper.deployment.secrets["checkout"].encode()
    return {"Recovery-Token": Links(secret, seconds).link_to(uuid_of(order), utc_now()).token}


async def sell(shopper: Shopper, sku: str, *, active: bool) -> None:
    product = {"name": f"Product {sku}", "prices": {"usd": 1800}, "active": active}
    await shopper.admin("PUT", "checkout", f"/admin/products/{sku}", product)


async def stop_checkouts(shopper: Shopper, state: str) -> None:
    await shopper.admin("PUT", "checkout", "/admin/switches/checkouts", {"state": state, "reason": "a test"})


async def refunded(shopper: Shopper, order: Json, amount: int) -> None:
    async def back() -> bool:
        return bool((await shopper.order(order))["refunded_minor"] == amount)

    await eventually(back, within=60, what=f"{amount} back for {order['order_id']}")


async def test_a_new_order_takes_the_cart_up_and_is_paid(shopper: Shopper, expired: Json) -> None:
    answer = await recover(shopper, expired)

    made = answer.body
    assert (answer.status, made["recovered_from"], made["changes"]) == (201, expired["order_id"], [])
    assert (made["subtotal_minor"], made["total_minor"]) == (3600, 3600)
    assert made["order_id"] != expired["order_id"]
    assert (await shopper.order(expired))["status"] == "canceled", "what is taken up again is over"
    assert (await shopper.stock_of(shopper.goods))["held"] == 2
    assert await shopper.pay(made) == 303
    seen = await shopper.until(made, "paid")
    assert seen["recovered_from"] == expired["order_id"]
    refused = await recover(shopper, expired)
    assert (refused.status, refused.body["code"], refused.body["order_status"]) == (409, "order_paid", "paid")
    await shopper.audited()


async def test_what_changed_is_charged_and_said(shopper: Shopper) -> None:
    mug, pen = await shopper.offer(), await shopper.offer(prices={"usd": 500})
    code = await shopper.coupon(percent_off=10)
    lines = [{"sku": mug, "quantity": 2}, {"sku": pen, "quantity": 1}]
    order = await left(shopper, mug, lines=lines, coupon=code)
    await shopper.admin("PUT", "checkout", f"/admin/products/{mug}", {"name": "Mug", "prices": {"usd": 2000}})
    gone = {"name": "Pen", "prices": {"usd": 500}, "active": False}
    await shopper.admin("PUT", "checkout", f"/admin/products/{pen}", gone)
    await shopper.admin("PUT", "checkout", f"/admin/coupons/{code}", {"percent_off": 10, "active": False})

    shown, answer = await offer(shopper, order), await recover(shopper, order)

    changes = [
        {"code": "price_changed", "sku": mug, "name": f"Product {mug}", "before_minor": 1800, "after_minor": 2000},
        {"code": "not_sold", "sku": pen, "name": f"Product {pen}"},
        {"code": "coupon_dropped", "coupon": code},
    ]
    assert (shown.status, answer.status) == (200, 201)
    assert shown.body["changes"] == answer.body["changes"] == changes
    assert (shown.body["total_minor"], answer.body["total_minor"]) == (4000, 4000)
    assert shown.body["total_before_minor"] == order["total_minor"]
    session = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(answer.body)}")
    assert session["amount_total"] == 4000


async def test_a_use_of_a_coupon_goes_over_to_the_new_order(shopper: Shopper) -> None:
    sku, code = await shopper.offer(), await shopper.coupon(percent_off=10, max_redemptions=1, per_customer=1)
    order = await left(shopper, sku, coupon=code, email=f"{secrets.token_hex(4)}@example.com")

    answer = await recover(shopper, order)

    assert (answer.body["discount_minor"], answer.body["changes"]) == (180, [])
    coupon = (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body
    assert (coupon["held"], coupon["redeemed"]) == (1, 0)


async def test_stock_that_is_gone_refuses_and_lets_the_next_try_through(shopper: Shopper, expired: Json) -> None:
    await shopper.admin("PUT", "inventory", f"/admin/stock/{shopper.goods}", {"total": 1})

    refused = await recover(shopper, expired)
    await shopper.admin("PUT", "inventory", f"/admin/stock/{shopper.goods}", {"total": 2})
    taken = await recover(shopper, expired)

    assert (refused.status, refused.body["code"]) == (409, "out_of_stock")
    assert refused.body["available"] == [{"sku": shopper.goods, "requested": 2, "available": 1}]
    assert taken.status == 201


async def test_of_many_who_take_it_up_at_once_all_get_one_order(shopper: Shopper, expired: Json) -> None:
    async def until_answered() -> Json:
        key = secrets.token_hex(12)
        while (answer := await recover(shopper, expired, key)).status in (409, 503):
            assert answer.body["code"] in ("idempotency_in_flight", "order_in_progress"), answer
            await asyncio.sleep(0.1)
        assert answer.status == 201, answer
        return answer.body

    answers = await asyncio.gather(*(until_answered() for _ in range(12)))

    assert len({str(sorted(answer.items(), key=str)) for answer in answers}) == 1
    count = "SELECT count(*) FROM checkout.orders WHERE recovered_from = $1"
    assert await shopper.count(count, uuid_of(expired)) == 1
    assert (await shopper.stock_of(shopper.goods))["held"] == 2
    assert (await shopper.order(answers[0]))["status"] == "pending", "the token that all were told is the order's"


async def test_a_repeat_gets_the_same_answer_and_a_later_wish_the_open_order(shopper: Shopper, expired: Json) -> None:
    key = secrets.token_hex(12)

    first, again = await recover(shopper, expired, key), await recover(shopper, expired, key)
    later = await recover(shopper, expired)
    shown = await offer(shopper, expired)
    through_the_new_one = await offer(shopper, first.body)

    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.body == again.body == later.body
    assert shown.body["checkout_url"] == first.body["checkout_url"] == through_the_new_one.body["checkout_url"]


async def test_when_the_new_one_expires_too_there_is_another(shopper: Shopper, expired: Json) -> None:
    first = (await recover(shopper, expired)).body
    await closed(shopper, first)

    by_the_old, by_the_new = await recover(shopper, expired), await recover(shopper, first)

    assert by_the_old.body["order_id"] == by_the_new.body["order_id"] != first["order_id"]
    assert by_the_new.body["recovered_from"] == expired["order_id"]
    await shopper.audited()


async def test_an_order_that_was_given_up_is_closed_before_it_is_taken_up(shopper: Shopper) -> None:
    sku, code = await shopper.offer(stock=5), await shopper.coupon(percent_off=10, max_redemptions=1, per_customer=1)
    order = await shopper.placed(sku, coupon=code, email=f"{secrets.token_hex(4)}@example.com")
    assert await shopper.pay(order, card="4000000000000002") == 402
    await shopper.until(order, "failed")
    too_soon = await recover(shopper, order)
    await shopper.advance(601)
    await eventually(lambda: shopper.mails(order, "payment_retry"), what="the order is given up")

    await stop_checkouts(shopper, "stopped")
    stopped = await recover(shopper, order)
    await stop_checkouts(shopper, "open")
    assert (stopped.status, stopped.body["code"]) == (503, "checkouts_stopped")
    await sell(shopper, sku, active=False)
    withdrawn = await recover(shopper, order)
    await sell(shopper, sku, active=True)
    assert (withdrawn.status, withdrawn.body["code"]) == (409, "nothing_left")
    assert (await shopper.order(order))["checkout_url"], "it can be paid as it is"
    shown = (await offer(shopper, order)).body

    answer = await recover(shopper, order)

    assert (too_soon.status, too_soon.body["code"]) == (409, "order_not_recoverable")
    assert answer.status == 201
    assert shown["changes"] == answer.body["changes"] == [], "the use of the coupon that it holds is its buyer's own"
    assert shown["discount_minor"] == answer.body["discount_minor"] == 180
    session = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}")
    assert session["status"] == "expired", "nobody can pay both"
    assert await shopper.said_about(order, "order.expired.v1") == set()
    assert await shopper.pay(answer.body) == 303
    await shopper.until(answer.body, "paid")
    await shopper.audited()


async def test_a_debit_that_failed_for_good_is_taken_up_again(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer(stock=1))
    assert await shopper.pay(order, card="DE89370400440532013000", method="sepa_debit") == 303
    await shopper.until(order, "processing")
    refused = await recover(shopper, order)
    await shopper.stripe("POST", f"/_sim/sessions/{await shopper.session_of(order)}/settle", {"succeed": False})
    failed = await shopper.until(order, "failed")
    (mail,) = await eventually(lambda: shopper.mails(order, "payment_failed"), what="the bad news")

    answer = await recover(shopper, order)

    assert (refused.status, refused.body["code"], refused.body["order_status"]) == (409, "order_paid", "processing")
    assert failed["payment_problem"]["advice"]
    for part in await shopper.mail_parts(mail):
        assert f"/recover?order_id={order['order_id']}&token=" in part
        assert failed["payment_problem"]["advice"] in part
    assert answer.status == 201
    assert await shopper.pay(answer.body) == 303
    await shopper.until(answer.body, "paid")
    await shopper.audited()


async def test_a_payment_that_is_quicker_than_the_wish_wins(shopper: Shopper) -> None:
    sku = await shopper.offer()
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="4000000000000002") == 402
    await shopper.until(order, "failed")
    await shopper.advance(601)
    await eventually(lambda: shopper.mails(order, "payment_retry"), what="the order is given up")
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    try:
        assert await shopper.pay(order) == 303
        answer = await recover(shopper, order)
    finally:
        await shopper.stripe("POST", "/_sim/chaos", {})
        for event in (await shopper.stripe("GET", "/_sim/truth"))["events"]:
            if not event["delivered"]:
                await shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 1})

    assert (answer.status, answer.body["code"]) == (409, "order_paid")
    assert (await shopper.order(order))["status"] == "paid"
    count = "SELECT count(*) FROM checkout.orders WHERE recovered_from = $1"
    assert await shopper.count(count, uuid_of(order)) == 0


@pytest.mark.parametrize("when", ["before the new one is paid", "after the new one was paid"])
async def test_late_money_for_the_old_order_goes_back(shopper: Shopper, expired: Json, when: str) -> None:
    """Goods leave once: the new order has taken the old one's place, whichever is paid first."""
    made = (await recover(shopper, expired)).body
    if when.startswith("after"):
        assert await shopper.pay(made) == 303
        await shopper.until(made, "paid")

    await shopper.stripe("POST", f"/_sim/sessions/{await shopper.session_of(expired)}/pay_again")

    await refunded(shopper, expired, 3600)
    if when.startswith("before"):
        assert await shopper.pay(made) == 303
        await shopper.until(made, "paid")
    await shopper.quiet()
    assert (await shopper.order(made))["refunded_minor"] == 0
    assert await shopper.effects(made) == (1, 1, 1, 1)
    assert (await shopper.effects(expired))[:3] == (0, 0, 0)
    await shopper.audited()


async def test_late_money_before_anybody_takes_it_up_still_buys(shopper: Shopper, expired: Json) -> None:
    await shopper.stripe("POST", f"/_sim/sessions/{await shopper.session_of(expired)}/pay_again")
    await shopper.until(expired, "paid")

    refused = await recover(shopper, expired)

    assert (refused.status, refused.body["code"]) == (409, "order_paid")
    await shopper.quiet()
    assert (await shopper.order(expired))["refunded_minor"] == 0


async def test_an_open_or_canceled_order_is_not_taken_up(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}/cancel"

    still_open = await recover(shopper, order)
    await shopper.call("POST", url, **{"Order-Token": order["order_token"]})
    canceled = await recover(shopper, order)

    assert [(a.status, a.body["code"]) for a in (still_open, canceled)] == [(409, "order_not_recoverable")] * 2
    assert [a.body["order_status"] for a in (still_open, canceled)] == ["pending", "canceled"]


async def test_the_link_of_the_mail_takes_it_up_without_signing_in(shopper: Shopper, expired: Json) -> None:
    other = await shopper.placed(await shopper.offer())

    shown = await offer(shopper, expired, **link(shopper, expired))
    answer = await recover(shopper, expired, **link(shopper, expired))
    refused = [
        await recover(shopper, expired, **link(shopper, other)),
        await recover(shopper, expired, **{"Recovery-Token": expired["order_token"]}),
        await recover(shopper, expired, **{"Order-Token": other["order_token"]}),
        await recover(shopper, expired, **{"X-None": "1"}),
        await offer(shopper, expired, **{"X-None": "1"}),
    ]
    late = await recover(shopper, expired, **link(shopper, expired, seconds=-1))

    assert (shown.status, answer.status) == (200, 201)
    assert {(a.status, a.body["code"]) for a in refused} == {(404, "not_found")}
    assert (late.status, late.body["code"]) == (401, "recovery_expired")
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{expired['order_id']}"
    assert (await shopper.call("GET", url, **link(shopper, expired))).status == 404, "it shows the cart, not the order"


async def test_the_mail_is_in_the_orders_locale_and_its_link_opens_the_order(shopper: Shopper) -> None:
    email = f"{secrets.token_hex(5)}@example.com"
    order = await left(shopper, await shopper.offer(), email=email, currency="eur", locale="de-DE")

    (mail,) = await eventually(lambda: shopper.mails(order, "order_expired"), what="the mail with the way back")
    _, text = await shopper.mail_parts(mail)
    token = text.partition(f"/recover?order_id={order['order_id']}&token=")[2].split()[0]
    answer = await recover(shopper, order, **{"Recovery-Token": token})

    assert "17,00\xa0€" in text
    assert (answer.status, answer.body["recovered_from"]) == (201, order["order_id"])
    assert await shopper.pay(answer.body) == 303
    await shopper.until(answer.body, "paid")


async def test_only_the_customer_himself_is_offered_what_he_saved(shopper: Shopper) -> None:
    sku, subject = await shopper.offer(), "sub-" + secrets.token_hex(4)
    token = shopper.deployment.keys.token(subject, "customer", email=f"{subject}@example.com")
    bearer = {"Authorization": f"Bearer {token}"}
    url = shopper.deployment.front_door_url + "/api/payments/checkout-session"
    body = {"lines": [{"sku": sku, "quantity": 1}], "currency": "usd"}
    placed = await shopper.call("POST", url, body, **bearer, **{"Idempotency-Key": secrets.token_hex(12)})
    await closed(shopper, placed.body)

    by_link = await recover(shopper, placed.body, **link(shopper, placed.body))
    await closed(shopper, by_link.body)
    by_himself = await recover(shopper, placed.body, **bearer)

    sessions = [
        await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(answer.body)}")
        for answer in (by_link, by_himself)
    ]
    assert [session["customer"] is not None for session in sessions] == [False, True]
    listed = await shopper.call("GET", f"{shopper.deployment.front_door_url}/api/payments/orders", **bearer)
    assert len(listed.body["orders"]) == 3, "each is his"


async def test_from_where_it_is_taken_up_counts_as_for_any_order(shopper: Shopper, expired: Json) -> None:
    headers = {"Order-Token": expired["order_token"], "Idempotency-Key": secrets.token_hex(12)}
    async with another_checkout(
        shopper.deployment, "checkout-recovering", PAYMENTS_TRUSTED_PROXIES="127.0.0.0/8"
    ) as instance:
        url = f"{instance.public_url}/api/payments/orders/{expired['order_id']}/recover"
        answer = await shopper.call("POST", url, **headers, **{"X-Forwarded-For": "8.8.4.4"})

    assert answer.status == 201
    assert (
        await shopper.count("SELECT count(*) FROM checkout.order_origins WHERE order_id = $1", uuid_of(answer.body))
        == 1
    )


async def test_a_key_is_required(shopper: Shopper, expired: Json) -> None:
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{expired['order_id']}/recover"

    answer = await shopper.call("POST", url, **{"Order-Token": expired["order_token"]})

    assert (answer.status, answer.body["code"]) == (400, "idempotency_key_invalid")


async def test_what_a_buyer_is_told_of_a_decline_says_nothing_of_a_stolen_card(shopper: Shopper) -> None:
    sku = await shopper.offer()
    told = []
    for card in ("4000000000009995", "4000000000009979", "4000000000000002"):
        order = await shopper.placed(sku)
        assert (await shopper.order(order))["payment_problem"] is None
        assert await shopper.pay(order, card=card) == 402
        told.append((await shopper.until(order, "failed"))["payment_problem"])
        assert await shopper.pay(order) == 303
        assert (await shopper.until(order, "paid"))["payment_problem"] is None

    poor, stolen, generic = told
    assert (poor["code"], poor["retryable"]) == ("insufficient_funds", True)
    assert stolen == generic
    assert "another_card" in generic["alternatives"]
