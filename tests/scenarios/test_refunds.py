"""Staff give money back, and every service agrees on what that means."""

import secrets

import pytest

from tests.support.credit import Holder
from tests.support.people import Person
from tests.support.shopping import Answer, Json, Shopper, eventually

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
    assert {f.predicate.name[:3]: f.examined for f in report.findings}["I43"] >= 1
