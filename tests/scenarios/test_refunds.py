"""Staff give money back, and every service agrees on what that means."""

import secrets

import pytest

from tests.checkout.fraud import held, reviewed
from tests.support.credit import Holder
from tests.support.people import Person
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.servers


async def refund(shopper: Shopper, order: Json, **wish: object) -> Answer:
    """What support asks for, through the front door."""
    token = shopper.deployment.keys.token("sam", "support", email="sam@shop.example")
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(12)}
    url = f"{shopper.deployment.front_door_url}/api/payments/refund"
    return await shopper.call("POST", url, {"order_id": order["order_id"], "reason": "returned", **wish}, **headers)


async def known_once(shopper: Shopper, refund_id: str, status: str) -> Json:
    """A refund once it has come so far."""
    token = shopper.deployment.keys.token("op", "operator")
    url = f"{shopper.deployment.front_door_url}/api/payments/refunds/{refund_id}"

    async def probe() -> Json | None:
        answer = await shopper.call("GET", url, Authorization=f"Bearer {token}")
        return answer.body if answer.body["status"] == status else None

    found: Json = await eventually(probe, within=30, what=f"refund {refund_id} {status}")
    return found


async def test_pieces_go_back_to_card_and_credit_in_proportion_and_stay_out_of_the_parcel(shopper: Shopper) -> None:
    sku, holder = await shopper.offer(prices={"usd": 2000}), Holder(shopper)
    await holder.given(1000)
    order = await holder.placed(sku, quantity=2)
    assert await shopper.pay(order) == 303
    await shopper.until({**order, "order_token": order["order_token"]}, "paid")
    await shopper.quiet()

    one = await refund(shopper, order, lines=[{"line": 0, "quantity": 1}])
    await known_once(shopper, one.body["refund_id"], "succeeded")
    rest = await refund(shopper, order)
    done = await known_once(shopper, rest.body["refund_id"], "succeeded")
    none = await refund(shopper, order)

    assert [(part["tender"] == "store_credit", part["amount_minor"]) for part in one.body["parts"]] == [
        (False, 1500), (True, 500),
    ]  # fmt: skip
    assert (one.body["refundable_minor"], done["refundable_minor"]) == (2000, 0)
    assert (none.status, none.body["code"]) == (409, "nothing_refundable")
    assert await holder.has() == (1000, 0)
    await shopper.audited()


async def test_all_pieces_given_back_before_they_leave_end_well_though_a_fee_is_kept(shopper: Shopper) -> None:
    sku = await shopper.offer(prices={"usd": 2000}, stock=5)
    order = await shopper.bought(sku)
    await shopper.until(order, "paid")
    await shopper.quiet()

    made = await refund(shopper, order, lines=[{"line": 0, "quantity": 1}], restocking_fee_minor=300)
    done = await known_once(shopper, made.body["refund_id"], "succeeded")
    await shopper.quiet()

    assert (done["amount_minor"], done["fee_minor"], done["refundable_minor"]) == (1700, 300, 300)
    live = "SELECT count(*) FROM fulfillment.shipments WHERE order_id = $1 AND state <> 'canceled'"
    assert await shopper.count(live, uuid_of(order)) == 0
    await shopper.audited()


async def test_all_of_what_was_not_asked_for_and_let_pass_can_be_given_back(shopper: Shopper) -> None:
    """Its bill is of what was paid: the last of two refunds leaves nothing."""
    order = await shopper.placed(await shopper.offer())
    await shopper.stripe("POST", f"/_sim/sessions/{await shopper.session_of(order)}/reprice", {"amount": 2500})
    assert await shopper.pay(order) == 303
    await eventually(lambda: shopper.mails(order, "order_held"), what="staff are told")
    await shopper.admin("POST", "checkout", f"/admin/orders/{order['order_id']}/release", {"reason": "he agrees"})
    await eventually(lambda: shopper.mails(order, "order_confirmation"), what="it goes on")
    await shopper.quiet()

    most = await refund(shopper, order, amount_minor=2400)
    rest = await refund(shopper, order, amount_minor=100)

    assert (most.status, most.body["refundable_minor"]) == (201, 100)
    assert (rest.status, rest.body["refundable_minor"]) == (201, 0)
    for made in (most, rest):
        await known_once(shopper, made.body["refund_id"], "succeeded")
    await shopper.audited()


async def test_what_a_card_paid_becomes_store_credit_and_buys_again(shopper: Shopper) -> None:
    sku, holder = await shopper.offer(prices={"usd": 2000}), Holder(shopper)
    ada = Person(shopper, holder.subject)
    await ada.saves()
    bought = await ada.buys(sku)
    assert bought.status == 201, bought
    await shopper.quiet()

    made = await refund(shopper, bought.body, destination="store_credit", amount_minor=1200)
    await known_once(shopper, made.body["refund_id"], "succeeded")
    over = await refund(shopper, bought.body, amount_minor=801)
    guests = await shopper.bought(sku)
    await shopper.quiet()
    refused = await refund(shopper, guests, destination="store_credit")

    assert (over.status, over.body["refundable"]) == (409, 800)
    assert await holder.has() == (1200, 0)
    assert (refused.status, refused.body["code"]) == (422, "no_account")
    again = await holder.placed(await shopper.offer(prices={"usd": 1000}))
    assert again["status"] == "paid"
    report = await shopper.audited()
    assert {f.predicate.number: f.examined for f in report.findings}["I43"] >= 1


async def test_money_that_a_bank_returns_on_the_twentieth_day_may_be_given_back_again(shopper: Shopper) -> None:
    """What was decided about the goods stays: they were taken out of the parcel, and are on the shelf."""
    sku = await shopper.offer(prices={"usd": 2000}, stock=9)
    order = await shopper.placed(sku, quantity=5)
    assert await shopper.pay(order, card="4000000000007726") == 303
    await shopper.until(order, "paid")
    await shopper.quiet()

    made = await refund(shopper, order, lines=[{"line": 0, "quantity": 3}])
    pending = await known_once(shopper, made.body["refund_id"], "pending")
    await shopper.advance(3700)
    succeeded = await known_once(shopper, made.body["refund_id"], "succeeded")
    await shopper.quiet()
    goods = await _goods(shopper, order, sku)
    await shopper.advance(20 * 86_400)
    await shopper.stripe("POST", f"/_sim/refunds/{succeeded['parts'][0]['stripe_refund_id']}", {"status": "failed"})
    failed = await known_once(shopper, made.body["refund_id"], "failed")
    await shopper.quiet()

    shown = (made.body, pending, succeeded, failed)
    assert [(one["amount_minor"], one["refundable_minor"]) for one in shown] == [
        (6000, 4000), (6000, 4000), (6000, 4000), (6000, 10_000),
    ]  # fmt: skip
    (thanks,) = await shopper.mails(order, "refund_succeeded")
    (told,) = await shopper.mails(order, "refund_failed")
    (back,) = await shopper.mails(order, "refund_returned")
    assert (thanks["recipient"], told["recipient"] == thanks["recipient"]) == ("ada@example.com", False)
    assert back["recipient"] == thanks["recipient"]
    assert await _goods(shopper, order, sku) == goods
    await shopper.audited()


async def _goods(shopper: Shopper, order: Json, sku: str) -> tuple[Json, list[tuple[str, str]]]:
    """The piles of a SKU, and the parcels of an order with what is in them."""
    sql = "SELECT state, lines::text FROM fulfillment.shipments WHERE order_id = $1 ORDER BY id"
    parcels = [tuple(row) for row in await shopper.owner.fetch(sql, uuid_of(order))]
    return await shopper.stock_of(sku), parcels


async def refused_with_credit(shopper: Shopper, holder: Holder) -> Json:
    """An order that a card and credit paid and a person refused, once the card's money and the credit are back."""
    order = await holder.placed(await shopper.offer(prices={"usd": 30_000}))
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    await reviewed(shopper, order)
    await held(shopper, order, "review")
    await shopper.admin("POST", "checkout", f"/admin/orders/{order['order_id']}/refuse", {"reason": "not his card"})
    await held(shopper, order, None)
    await shopper.quiet()
    return order


async def test_of_an_order_that_was_refused_nothing_is_left_once_its_credit_is_back(shopper: Shopper) -> None:
    holder = Holder(shopper)
    await holder.given(1000)

    order = await refused_with_credit(shopper, holder)
    none = await refund(shopper, order)

    assert (none.status, none.body["code"], none.body["refundable"]) == (409, "nothing_refundable", 0)
    assert await holder.has() == (1000, 0)
    await shopper.audited()


async def test_a_refund_that_crosses_with_the_credit_has_failed_and_gives_nothing(shopper: Shopper) -> None:
    holder = Holder(shopper)
    await holder.given(1000)
    order = await refused_with_credit(shopper, holder)
    forget = "UPDATE refunds.orders SET credit_released = false WHERE order_id = $1"
    await shopper.owner.execute(forget, uuid_of(order))  # as if what checkout said were still on its way

    made = await refund(shopper, order)
    done = await known_once(shopper, made.body["refund_id"], "failed")
    again = await refund(shopper, order)
    await shopper.quiet()

    assert (made.status, made.body["amount_minor"], done["parts"][0]["failure_reason"]) == (201, 1000, "credit_is_back")
    assert (again.status, again.body["code"]) == (409, "nothing_refundable")
    assert await holder.has() == (1000, 0)
    await shopper.audited()
