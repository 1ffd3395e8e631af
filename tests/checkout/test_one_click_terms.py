"""What is charged with one click is what the customer was shown, while he waits for it, and with his bank's word where
the shop wants that."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.checkout.fraud import looked_at
from tests.checkout.test_one_click import ASKS, INTENTS, answers_bank, intents_of
from tests.support.instances import another_checkout
from tests.support.people import Person
from tests.support.shopping import Json, Shopper, eventually

pytestmark = pytest.mark.servers

HOME: Json = {"name": "Ada", "line1": "Weg 1", "city": "Berlin", "postal_code": "10115", "country": "DE"}


@pytest_asyncio.fixture(loop_scope="session")
async def ada(shopper: Shopper) -> AsyncIterator[Person]:
    """Somebody without a saved method."""
    yield Person(shopper, "ada-" + secrets.token_hex(4))


async def test_nothing_is_charged_that_comes_to_something_else_than_was_shown(shopper: Shopper, ada: Person) -> None:
    sku, key = await shopper.offer(stock=5, prices={"usd": 9900}), secrets.token_hex(12)
    await ada.saves()

    changed = await ada.buys(sku, key=key, expected_total_minor=1800)
    unnamed = await ada.buys(sku, currency=None, expected_total_minor=9900)
    bought = await ada.buys(sku, expected_total_minor=9900)

    assert (changed.status, changed.body["code"], changed.body["total_minor"]) == (409, "total_changed", 9900)
    assert unnamed.status == 422, "an amount without its currency says nothing"
    assert (bought.status, bought.body["total_minor"]) == (201, 9900)
    assert [intent["amount_received"] for intent in await intents_of(shopper, sku)] == [9900]


async def test_where_the_goods_go_chooses_the_currency_as_in_a_quote(shopper: Shopper, ada: Person) -> None:
    sku = await shopper.offer(stock=5)
    await ada.saves()
    url = f"{shopper.deployment.front_door_url}/api/payments/quote"
    cart = {"lines": [{"sku": sku, "quantity": 1}], "shipping": {"country": "DE"}}

    quoted = (await shopper.call("POST", url, cart)).body
    bought = (await ada.buys(sku, currency=None, shipping=HOME)).body

    assert quoted["currency"] == bought["currency"] == "eur"
    assert quoted["total_minor"] == bought["total_minor"] >= 1700, "whichever ways to ship there are"


async def test_nobody_is_charged_who_does_not_wait_for_it(shopper: Shopper, ada: Person) -> None:
    """A front end that got no answer may have asked again under another key."""
    sku = await shopper.offer(stock=5)
    await ada.saves()
    await shopper.stripe("POST", "/_sim/faults", {"kind": "cut_before", "path": INTENTS, "count": 2})
    unanswered = await ada.buys(sku)
    await shopper.stripe("DELETE", "/_sim/faults")
    bought = await ada.buys(sku)
    await shopper.advance(61)

    async def ended() -> bool:
        states = await shopper.owner.fetch("SELECT state FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku)
        return sorted(row["state"] for row in states) == ["canceled", "paid"]

    await eventually(ended, what="the order that nobody waits for has ended")
    assert (unanswered.status, bought.status) == (503, 201)
    assert [intent["amount_received"] for intent in await intents_of(shopper, sku)] == [1800]
    await shopper.quiet()
    assert (await shopper.stock_of(sku))["held"] == 0
    await shopper.audited()


async def test_what_its_buyer_canceled_is_not_charged_by_a_repeat(shopper: Shopper, ada: Person) -> None:
    sku, key = await shopper.offer(stock=5), secrets.token_hex(12)
    await ada.saves(ASKS)
    await shopper.stripe("POST", "/_sim/faults", {"kind": "cut_after", "path": INTENTS, "count": 2})
    unanswered = await ada.buys(sku, key=key)
    await shopper.stripe("DELETE", "/_sim/faults")
    found = "SELECT stripe_payment_intent FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1"
    await eventually(lambda: shopper.owner.fetchval(found, sku), what="the intent is found")
    (order,) = await _orders(ada)

    canceled = await _call(ada, "POST", f"/orders/{order['order_id']}/cancel")
    again = await ada.buys(sku, key=key)

    assert (unanswered.status, canceled["status"]) == (503, "canceled")
    assert (again.status, again.body["code"]) == (409, "order_canceled")
    assert len(await _orders(ada)) == 1


@pytest.mark.parametrize("setting", ["rule", "above"])
async def test_whoever_must_confirm_on_a_page_must_confirm_with_one_click(
    shopper: Shopper, ada: Person, setting: str
) -> None:
    sku = await shopper.offer(stock=5)
    await ada.saves()
    demand = {
        "rule": {"PAYMENTS_THREE_D_SECURE_RULES": '[{"request": "challenge", "first_order": true}]'},
        "above": {"PAYMENTS_THREE_D_SECURE_ABOVE": '{"usd": 1800}'},
    }[setting]
    async with another_checkout(shopper.deployment, f"secured-{setting}", **demand) as instance:
        answer = await ada.buys(sku, url=instance.public_url, retry_later=True)

        assert (answer.status, answer.body["status"]) == (202, "requires_action")
        assert await intents_of(shopper, sku) != []
        await answers_bank(shopper, answer.body["action_url"])
        await shopper.until(answer.body, "paid")

    risk = next(one for one in (await looked_at(shopper, answer.body))["risk"] if one["gate"] == "three_d_secure")
    assert risk["outcome"] == ("challenge" if setting == "rule" else "any")
    await shopper.audited()


async def test_a_stripe_that_does_not_know_us_says_nothing_about_an_order(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=5)
    path = "/v1/checkout/sessions"
    for method in ("POST", "GET"):
        await shopper.stripe("POST", "/_sim/faults", {"kind": "refuse", "method": method, "path": path, "count": 2})
    refused = await shopper.checkout(sku)
    await shopper.stripe("DELETE", "/_sim/faults")

    assert (refused.status, refused.body["code"]) == (503, "stripe_unavailable")
    assert int(refused.headers["Retry-After"]) >= 1


async def _call(person: Person, method: str, path: str) -> Json:
    shopper = person.shopper
    token = shopper.deployment.keys.token(person.subject, "customer", email=f"{person.subject}@example.com")
    url = f"{shopper.deployment.front_door_url}/api/payments{path}"
    answer = await shopper.call(method, url, Authorization=f"Bearer {token}")
    assert answer.status == 200, answer
    return answer.body


async def _orders(person: Person) -> list[Json]:
    return list((await _call(person, "GET", "/orders"))["orders"])
