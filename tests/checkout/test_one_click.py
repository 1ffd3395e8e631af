"""A purchase without a page: a saved method is charged, and what became of it is said once, whatever happens on the way."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from payments_shared.ids import external_id
from tests.support.people import CARD, Person
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of

ASKS: Final = "4000002760003184"
DECLINES: Final = "4000000000000341"
ACCOUNT: Final = "DE89370400440532013000"
BAD_ACCOUNT: Final = "DE62370400440532013001"
INTENTS: Final = "/v1/payment_intents"


@pytest_asyncio.fixture(loop_scope="session")
async def ada(shopper: Shopper) -> AsyncIterator[Person]:
    """Somebody without a saved method."""
    yield Person(shopper, "ada-" + secrets.token_hex(4))


@pytest_asyncio.fixture(loop_scope="session")
async def sku(shopper: Shopper) -> AsyncIterator[str]:
    """Goods, five pieces."""
    yield await shopper.offer(stock=5)


async def intents_of(shopper: Shopper, sku: str) -> list[Json]:
    """What Stripe holds of all orders of a product."""
    rows = await shopper.owner.fetch("SELECT id FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku)
    names = {external_id("ord", row["id"]) for row in rows}
    truth = await shopper.stripe("GET", "/_sim/truth")
    return [intent for intent in truth["payment_intents"] if intent["order_ref"] in names]


async def answers_bank(shopper: Shopper, url: str, answer: str = "complete") -> str:
    """Answer the bank's question; where that leads to."""
    async with shopper.http.post(url, data={"answer": answer}, allow_redirects=False) as page:
        assert page.status == 303, await page.text()
        return page.headers["Location"]


async def is_at(shopper: Shopper, sku: str, status: str) -> None:
    """Wait until the one intent of a product has a status."""

    async def probe() -> bool:
        return [intent["status"] for intent in await intents_of(shopper, sku)] == [status]

    await eventually(probe, what=f"the intent {status}")


async def test_one_click_pays_ships_and_mails_once(shopper: Shopper, ada: Person, sku: str) -> None:
    method = await ada.saves()

    answer = await ada.buys(sku, quantity=2)

    assert (answer.status, answer.body["status"], answer.body["total_minor"]) == (201, "paid", 3600)
    assert (answer.body["client_secret"], answer.body["action_url"]) == (None, None)
    seen = await shopper.until(answer.body, "paid")
    assert (seen["total_minor"], seen["held"], seen["checkout_url"]) == (3600, False, None)
    await shopper.quiet()
    assert await shopper.effects(answer.body) == (1, 1, 1, 1)
    assert (await shopper.stock_of(sku))["committed"] == 2
    (intent,) = await intents_of(shopper, sku)
    assert (intent["id"], intent["amount_received"]) == (answer.body["payment_intent"], 3600)
    read = await shopper.stripe("GET", f"{INTENTS}/{intent['id']}")
    assert (read["payment_method"], read["customer"]) == (method["id"], await ada.stripe_customer())
    assert [order["order_id"] for order in (await orders_of(ada))] == [answer.body["order_id"]]
    report = await shopper.audited()
    assert {f.predicate.number: f.examined for f in report.findings}["I03"] >= 1


async def orders_of(person: Person) -> list[Json]:
    """His orders, as he sees them."""
    token = person.shopper.deployment.keys.token(person.subject, "customer")
    url = f"{person.shopper.deployment.front_door_url}/api/payments/orders"
    return list((await person.shopper.call("GET", url, Authorization=f"Bearer {token}")).body["orders"])


async def test_the_chosen_method_pays_and_not_the_default(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves()
    chosen = await ada.saves("5555555555554444")

    answer = await ada.buys(sku, method_id=chosen["id"])

    read = await shopper.stripe("GET", f"{INTENTS}/{answer.body['payment_intent']}")
    assert read["payment_method"] == chosen["id"]


async def test_a_coupon_is_taken_off_and_used_up(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves()
    code = await shopper.coupon(percent_off=10, max_redemptions=1)

    answer = await ada.buys(sku, coupon=code)

    assert (answer.body["discount_minor"], answer.body["total_minor"]) == (180, 1620)
    (intent,) = await intents_of(shopper, sku)
    assert intent["amount_received"] == 1620
    coupon = (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body
    assert (coupon["held"], coupon["redeemed"]) == (0, 1)


# -- what is refused before Stripe is asked ----------------------------------------------------------------------------


async def test_without_a_saved_method_nothing_is_ordered(shopper: Shopper, ada: Person, sku: str) -> None:
    answer = await ada.buys(sku)

    assert (answer.status, answer.body["code"]) == (409, "no_payment_method")
    assert await shopper.count("SELECT count(*) FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku) == 0


async def test_a_method_of_somebody_else_is_as_one_that_is_not_there(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves()
    bob = Person(shopper, "bob-" + secrets.token_hex(4))
    his = await bob.saves()

    answers = [await ada.buys(sku, method_id=his["id"]), await ada.buys(sku, method_id="pm_none")]

    assert [(answer.status, answer.body["code"]) for answer in answers] == [(404, "not_found")] * 2
    assert answers[0].body["detail"] == answers[1].body["detail"]
    assert await intents_of(shopper, sku) == []


async def test_an_expired_card_is_refused(shopper: Shopper, ada: Person, sku: str) -> None:
    method = await ada.saves(expiry="1 / 25")

    answer = await ada.buys(sku)

    assert method["expired"]
    assert (answer.status, answer.body["code"]) == (409, "payment_method_expired")
    assert await intents_of(shopper, sku) == []


async def test_without_stock_nothing_is_charged(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves()
    code = await shopper.coupon(percent_off=10, max_redemptions=1)

    answer = await ada.buys(sku, quantity=6, coupon=code)

    assert (answer.status, answer.body["code"]) == (409, "out_of_stock")
    assert answer.body["available"] == [{"sku": sku, "requested": 6, "available": 5}]
    assert await intents_of(shopper, sku) == []
    assert (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body["held"] == 0


# -- the bank says no --------------------------------------------------------------------------------------------------


async def test_a_declined_card_gives_everything_back_and_nobody_can_pay_later(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    await ada.saves(DECLINES)
    code, key = await shopper.coupon(percent_off=10, max_redemptions=1), secrets.token_hex(12)

    first = await ada.buys(sku, coupon=code, key=key)
    again = await ada.buys(sku, coupon=code, key=key)

    assert (first.status, first.body["code"]) == (402, "payment_declined")
    assert first.body["payment_problem"]["code"] == "contact_bank"
    assert again.status == 402
    assert _told(again) == _told(first)
    await is_at(shopper, sku, "canceled")

    async def given_back() -> bool:
        coupon = (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body
        return bool((await shopper.stock_of(sku))["available"] == 5 and coupon["held"] == 0)

    await eventually(given_back, what="stock and coupon back")
    state = "SELECT state FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1"
    assert await shopper.owner.fetchval(state, sku) == "settlement_failed"
    await shopper.audited()


def _told(answer: Answer) -> Json:
    return {name: value for name, value in answer.body.items() if name != "request_id"}


# -- the bank asks -----------------------------------------------------------------------------------------------------


async def test_the_bank_asks_and_its_customer_confirms(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves(ASKS)

    answer = await ada.buys(sku, return_path="/shop/success")

    assert (answer.status, answer.body["status"]) == (202, "requires_action")
    assert answer.body["client_secret"].startswith(answer.body["payment_intent"] + "_secret_")
    assert (await shopper.order(answer.body))["status"] == "pending"
    assert (await shopper.stock_of(sku))["held"] == 1
    back = await answers_bank(shopper, answer.body["action_url"])
    assert back.startswith(f"{shopper.deployment.front_door_url}/shop/success?order_id={answer.body['order_id']}&")
    assert "redirect_status=succeeded" in back
    await shopper.until(answer.body, "paid")
    await shopper.quiet()
    assert await shopper.effects(answer.body) == (1, 1, 1, 1)
    assert not await shopper.mails(answer.body, "payment_failed"), "what the bank asked was no decline"
    assert len(await intents_of(shopper, sku)) == 1
    await shopper.audited()


async def test_the_bank_asks_and_its_customer_fails(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves(ASKS)
    answer = await ada.buys(sku)

    back = await answers_bank(shopper, answer.body["action_url"], "fail")

    assert "redirect_status=failed" in back
    await is_at(shopper, sku, "canceled")
    await shopper.until(answer.body, "failed")
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["available"] == 5
    await shopper.audited()


async def test_the_bank_asks_and_nobody_answers_until_the_deadline(shopper: Shopper, ada: Person, sku: str) -> None:
    """Its intent is canceled before the order ends."""
    await ada.saves(ASKS)
    answer = await ada.buys(sku)
    await shopper.quiet()

    await shopper.advance(1700)
    await shopper.quiet()
    assert (await shopper.order(answer.body))["status"] == "pending"
    await shopper.advance(700)

    await shopper.until(answer.body, "expired")
    await is_at(shopper, sku, "canceled")
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["available"] == 5
    async with shopper.http.post(answer.body["action_url"], data={"answer": "complete"}) as page:
        assert page.status == 404, "nobody can pay for what was given back"
    await shopper.audited()


async def test_a_customer_cancels_what_his_bank_asks_about(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves(ASKS)
    order = (await ada.buys(sku)).body
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}/cancel"

    canceled = await shopper.call("POST", url, **{"Order-Token": order["order_token"]})

    assert (canceled.status, canceled.body["status"]) == (200, "canceled")
    await is_at(shopper, sku, "canceled")
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["available"] == 5
    await shopper.audited()


async def test_a_confirmation_that_no_webhook_tells_of_is_found_by_asking(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    await ada.saves(ASKS)
    order = (await ada.buys(sku)).body
    await shopper.quiet()
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    await answers_bank(shopper, order["action_url"])
    await shopper.stripe("POST", "/_sim/chaos", {})

    await shopper.advance(700)

    await shopper.until(order, "paid")
    await tell_late(shopper)
    await shopper.quiet()
    assert await shopper.effects(order) == (1, 1, 1, 1), "what is told late changes nothing"
    await shopper.audited()


async def tell_late(shopper: Shopper) -> None:
    """Deliver, twice, what Stripe never delivered."""
    for event in (await shopper.stripe("GET", "/_sim/truth"))["events"]:
        if not event["delivered"]:
            await shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 2})


# -- debits ------------------------------------------------------------------------------------------------------------


async def none_is_late(shopper: Shopper) -> None:
    """Wait until orders that others have left open are over, too: after such a jump of the clock all are asked after."""
    late = """SELECT count(*) FROM checkout.orders
               WHERE state IN ('pending', 'declined')
                 AND greatest(expires_at, retry_at) < payments.business_now() - interval '1 hour'"""

    async def over() -> bool:
        return await shopper.count(late) == 0

    await eventually(over, within=60, what="the end of orders whose time has passed")


async def test_a_debit_is_on_its_way_and_then_paid(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves(ACCOUNT, method="sepa_debit")

    answer = await ada.buys(sku, currency="eur")

    assert (answer.status, answer.body["status"]) == (201, "processing")
    await shopper.until(answer.body, "processing")
    await shopper.advance(6 * 86_400)
    await shopper.until(answer.body, "paid")
    await none_is_late(shopper)
    await shopper.quiet()
    assert await shopper.effects(answer.body) == (1, 1, 1, 1)
    await shopper.audited()


async def test_a_debit_that_fails_gives_the_stock_back(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves(BAD_ACCOUNT, method="sepa_debit")
    answer = await ada.buys(sku, currency="eur")

    await shopper.advance(6 * 86_400)

    await shopper.until(answer.body, "failed")
    await none_is_late(shopper)
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["available"] == 5
    assert len(await shopper.mails(answer.body, "payment_failed")) == 1
    await shopper.audited()


async def test_an_account_is_not_debited_in_a_currency_that_it_does_not_have(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    await ada.saves(ACCOUNT, method="sepa_debit")

    answer = await ada.buys(sku, currency="usd")

    assert (answer.status, answer.body["code"]) == (409, "payment_method_not_in_currency")
    assert await intents_of(shopper, sku) == []


# -- once, whatever happens --------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
async def test_fifty_clicks_at_once_are_one_order_and_one_charge(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves()
    key = secrets.token_hex(12)

    async def click() -> Answer:
        async def answered() -> Answer | None:
            answer = await ada.buys(sku, key=key)
            assert answer.status in (201, 409), answer
            return answer if answer.status == 201 else None

        found: Answer = await eventually(answered, within=60, every=0.2, what="an answer")
        return found

    answers = await asyncio.gather(*(click() for _ in range(50)))

    assert len({str(answer.body) for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 49
    (intent,) = await intents_of(shopper, sku)
    assert intent["amount_received"] == 1800
    assert await shopper.count("SELECT count(*) FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku) == 1
    await shopper.quiet()
    assert await shopper.effects(answers[0].body) == (1, 1, 1, 1)


async def test_the_key_of_another_payload_or_route_is_another(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves()
    key = secrets.token_hex(12)
    first = await ada.buys(sku, key=key)

    other = await ada.buys(sku, key=key, quantity=2)
    page = await shopper.checkout(sku, key=key)

    assert first.status == 201
    assert (other.status, other.body["code"]) == (422, "idempotency_mismatch")
    assert page.status == 201
    assert page.body["order_token"] != first.body["order_token"]


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "error_500"])
async def test_an_answer_that_is_lost_is_asked_for_again_and_charges_once(
    shopper: Shopper, ada: Person, sku: str, kind: str
) -> None:
    """`error_500`: Stripe keeps it under the key, so another one is used once it is certain that there is no intent."""
    await ada.saves()
    key = secrets.token_hex(12)
    await shopper.stripe("POST", "/_sim/faults", {"kind": kind, "path": INTENTS, "count": 2})
    first = await ada.buys(sku, key=key)
    await shopper.stripe("DELETE", "/_sim/faults")

    async def bought() -> Json | None:
        answer = await ada.buys(sku, key=key)
        assert answer.status in (201, 409, 503), answer
        return answer.body if answer.status == 201 else None

    order: Json = await eventually(bought, every=0.3, what="the same request goes through")

    assert first.status in (201, 503)
    assert order["status"] == "paid"
    (intent,) = [one for one in await intents_of(shopper, sku) if one["status"] != "canceled"]
    assert intent["amount_received"] == 1800
    await shopper.quiet()
    assert await shopper.effects(order) == (1, 1, 1, 1)
    await shopper.audited()


async def test_while_the_outcome_is_unknown_the_order_is_not_canceled_and_heals(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    """Nobody asks again: the sweep sends the same request under the same key."""
    await ada.saves()
    await shopper.stripe("POST", "/_sim/faults", {"kind": "cut_after", "path": INTENTS, "count": 2})
    answer = await ada.buys(sku)
    await shopper.stripe("DELETE", "/_sim/faults")

    async def paid() -> bool:
        sql = "SELECT state FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1"
        return bool(await shopper.owner.fetchval(sql, sku) == "paid")

    assert answer.status in (201, 503)
    await eventually(paid, what="the order is paid")
    (intent,) = await intents_of(shopper, sku)
    assert intent["amount_received"] == 1800
    await shopper.audited()


async def test_a_webhook_that_overtakes_the_answer_changes_nothing(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves()
    await shopper.stripe("POST", "/_sim/faults", {"kind": "delay", "path": INTENTS, "count": 1, "seconds": 2.0})
    asked = asyncio.ensure_future(ada.buys(sku))

    async def paid() -> bool:
        sql = "SELECT state FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1"
        return bool(await shopper.owner.fetchval(sql, sku) == "paid")

    await eventually(paid, what="the webhook")
    overtaken = not asked.done()
    answer = await asked
    await shopper.stripe("DELETE", "/_sim/faults")

    assert overtaken
    assert (answer.status, answer.body["status"]) == (201, "paid")
    await shopper.quiet()
    assert await shopper.effects(answer.body) == (1, 1, 1, 1)
    attempts = "SELECT count(*) FROM checkout.payment_attempts WHERE order_id = $1 AND NOT open"
    assert await shopper.count(attempts, uuid_of(answer.body)) == 1


async def test_a_method_that_is_gone_at_stripe_ends_the_order(shopper: Shopper, ada: Person, sku: str) -> None:
    method = await ada.saves(CARD)
    await shopper.quiet()
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    await shopper.stripe("POST", f"/v1/payment_methods/{method['id']}/detach")
    await shopper.stripe("POST", "/_sim/chaos", {})

    answer = await ada.buys(sku)

    assert (answer.status, answer.body["code"]) == (502, "stripe_refused")
    await tell_late(shopper)
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["available"] == 5
    assert await intents_of(shopper, sku) == []
