"""What the services really send, what they are answered and what they are told, judged by Stripe's specification."""

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

from checkout.gateway import Payments
from payments_shared.clock import utc_now
from payments_shared.stripe_client import STRIPE_VERSION, open_stripe
from refunds.decide import contesting
from refunds.decide.exhibiting import pack_of
from refunds.gateway import Evidence
from refunds.gateway import Payments as Repayments
from refunds.model.refunds import Refund, State
from refunds.model.requests import Person as Staff
from refunds.model.submissions import Wanted
from tests.checkout.test_order_fold import an_order
from tests.refunds.cases import DISPUTE, case
from tests.sandbox.stripe.simulator import KEY, Simulator
from tests.support.judged import kinds
from tests.support.people import Person
from tests.support.shopping import Json, Shopper, eventually
from tests.support.stripe_spec import specification, validate_event, validate_request

SAM: Final = Staff("sam")
SENT: Final = {
    "POST /v1/coupons",
    "POST /v1/checkout/sessions",
    "GET /v1/checkout/sessions",
    "GET /v1/checkout/sessions/{id}",
    "GET /v1/payment_intents/{id}",
    "POST /v1/refunds",
    "POST /v1/customers",
    "POST /v1/setup_intents",
    "GET /v1/payment_methods/{id}",
    "POST /v1/payment_methods/{id}/detach",
    "POST /v1/payment_intents",
    "POST /v1/payment_intents/{id}/confirm",
    "POST /v1/payment_intents/{id}/cancel",
}
ASKED: Final = {
    "GET /v1/checkout/sessions",
    "GET /v1/checkout/sessions/{id}",
    "POST /v1/checkout/sessions/{id}/expire",
    "GET /v1/payment_intents/{id}",
    "POST /v1/setup_intents/{id}/cancel",
    "POST /v1/refunds",
    "GET /v1/refunds",
    "GET /v1/refunds/{id}",
}


async def test_every_request_of_the_services_is_lawful(
    shopper: Shopper, record_property: Callable[[str, object], None]
) -> None:
    before = await _received(shopper)  # other tests ask as they like
    sku = await shopper.offer()
    await _buy(shopper, sku)
    await _buy(shopper, sku, currency="jpy", quantity=3)
    await _buy(shopper, sku, currency="eur", coupon=await shopper.coupon(percent_off=15, max_redemptions=1))
    await _pay_twice(shopper, sku)
    await _lose_an_answer(shopper, sku)
    await _hear_nothing_of_a_debit(shopper, sku, before)
    await _abandon(shopper, sku)
    await _save_a_method(shopper, before)
    await _buy_with_one_click(shopper, sku)

    ours = [sent for sent in await _journal(shopper, before) if sent["version"] is not None]
    for sent in ours:
        validate_request(sent["method"], sent["path"], sent["form"])

    judge = specification()
    record_property("judged_by", f"Stripe's specification {judge.version} ({judge.requirement})")
    assert kinds(ours) >= SENT
    assert {sent["version"] for sent in ours} == {STRIPE_VERSION}
    keys = [
        sent["key"] or ""
        for sent in ours
        if sent["method"] == "POST"
        and not sent["path"].endswith(("/expire", "/detach", "/confirm", "/cancel", "/tax/calculations"))
    ]
    assert [key for key in keys if not re.fullmatch(r"(cp|co|rf|cu|ce|sp|si|oc|ev)_\S+", key)] == []
    assert all(sent["key"] is None for sent in ours if sent["method"] == "GET")


async def test_every_event_that_the_services_are_sent_is_lawful(shopper: Shopper) -> None:
    sku = await shopper.offer()
    order = await _buy(shopper, sku)

    listed = (await shopper.stripe("GET", "/v1/events?limit=100"))["data"]

    for event in listed:
        validate_event(event)
    assert await shopper.events_of(order, "checkout.session.completed")


async def test_what_the_services_ask_when_they_do_not_know_is_lawful(simulator: Simulator) -> None:
    paid, left = await simulator.paid(client_reference_id="ord_1"), await simulator.session()
    refund = Refund(
        id=UUID(int=2),
        order_id=UUID(int=1),
        payment_intent=paid["payment_intent"],
        amount_minor=700,
        currency="usd",
        reason="requested_by_customer",
        state=State.SUBMITTED,
        requester="support-1",
    )

    async with open_stripe(api_key=KEY, api_base=simulator.url) as stripe:
        payments, money_back = Payments(stripe), Repayments(stripe)
        intent = await payments.retrieve_intent(paid["payment_intent"])
        session = await payments.session_of_intent(paid["payment_intent"])
        unknown = await payments.find_session(an_order(created_at=utc_now()))
        expired = await payments.expire_session(left["id"])
        lost = await payments.expire_session(left["id"])
        await payments.cancel_setup_intent((await simulator.post("setup_intents", {}))["id"])
        made = await money_back.create(refund)
        found = await money_back.find(refund)
        read = await money_back.retrieve(made.stripe_refund_id)

    ours = [s for s in (await simulator.control("requests", method="GET"))["requests"] if s["version"] is not None]
    for sent in ours:
        validate_request(sent["method"], sent["path"], sent["form"])
    assert kinds(ours) >= ASKED
    assert (intent.payment_intent, unknown) == (paid["payment_intent"], None)
    assert session is not None
    assert (session.session_id, expired.status, lost.status) == (paid["id"], "expired", "expired")
    assert made == found == read


async def test_evidence_is_handed_in_lawfully(simulator: Simulator) -> None:
    paid = await simulator.paid()
    [charge] = (await simulator.get("charges", {"payment_intent": paid["payment_intent"]}))["data"]
    opened = await simulator.control(f"charges/{charge['id']}/dispute", {"reason": "general"})
    disputed = replace(DISPUTE, id=opened["id"], charge=charge["id"], reason="general")
    wanted = Wanted(disputed.id, pack_of(case(reason="general")).digest, {}, final=True, reason="A test.", person=SAM)
    one = contesting.submission(UUID(int=1), wanted, disputed, pack_of(case(reason="general")))

    async with open_stripe(api_key=KEY, api_base=simulator.url) as stripe:
        evidence = Evidence(stripe)
        taken = await evidence.charges(paid["payment_intent"])
        before = await evidence.has(one)
        one = replace(one, file_id=await evidence.upload(one, b"%PDF-1.7"))
        await evidence.hand_in(one)
        after = await evidence.has(one)

    ours = [s for s in (await simulator.control("requests", method="GET"))["requests"] if s["version"] is not None]
    for sent in ours:
        validate_request(sent["method"], sent["path"], sent["form"])
    assert kinds(ours) == {
        "GET /v1/charges", "POST /v1/files", "POST /v1/disputes/{id}", "GET /v1/disputes/{id}",
    }  # fmt: skip
    assert all((sent["key"] or "").startswith("ev_evd_") for sent in ours if sent["method"] == "POST")
    assert [(found.id, found.amount_minor, found.brand) for found in taken] == [(charge["id"], 1800, "visa")]
    assert (before, after) == (False, True)


async def _buy(shopper: Shopper, sku: str, **given: object) -> Json:
    order = await shopper.bought(sku, **given)
    await shopper.until(order, "paid")
    return order


async def _pay_twice(shopper: Shopper, sku: str) -> None:
    order = await _buy(shopper, sku)
    session_id = await shopper.session_of(order)
    twin = await shopper.stripe("POST", f"/_sim/sessions/{session_id}/pay_again")

    async def refunded() -> bool:
        truth = await shopper.stripe("GET", "/_sim/truth")
        return any(refund["payment_intent"] == twin["payment_intent"] for refund in truth["refunds"])

    await eventually(refunded, within=30, what="the second payment goes back")


async def _lose_an_answer(shopper: Shopper, sku: str) -> None:
    fault = {"kind": "cut_after", "path": "/v1/checkout/sessions", "count": 1}
    await shopper.stripe("POST", "/_sim/faults", fault)
    answer = await shopper.checkout(sku)
    await shopper.stripe("DELETE", "/_sim/faults")
    assert answer.status in (201, 503)


async def _hear_nothing_of_a_debit(shopper: Shopper, sku: str, before: int) -> None:
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="DE89370400440532013000", method="sepa_debit") == 303
    await shopper.until(order, "processing")
    await shopper.advance(3700)

    async def asked() -> bool:
        return kinds(await _journal(shopper, before)) >= {
            "GET /v1/checkout/sessions/{id}",
            "GET /v1/payment_intents/{id}",
        }

    await eventually(asked, what="checkout asks Stripe about a payment it hears nothing of")
    await shopper.stripe("POST", f"/_sim/sessions/{await shopper.session_of(order)}/settle", {"succeed": True})
    await shopper.until(order, "paid")


async def _save_a_method(shopper: Shopper, before: int) -> None:
    url = shopper.deployment.front_door_url + "/api/payments/methods"
    token = shopper.deployment.keys.token("sub-" + secrets.token_hex(4), "customer", email="ada@example.com")
    mine = {"Authorization": f"Bearer {token}"}
    for using in ("form", "page"):
        key = {"Idempotency-Key": secrets.token_hex(12)}
        answer = await shopper.call("POST", url, {"using": using}, **mine, **key)
        assert answer.status == 201
    assert await shopper.pay({"checkout_url": answer.body["url"]}) == 303

    async def saved() -> list[Json]:
        return list((await shopper.call("GET", url, **mine)).body["methods"])

    [method] = await eventually(saved, what="the saved method")
    await shopper.stripe("POST", f"/_sim/payment_methods/{method['id']}/renew", {"exp_year": 2039})

    async def asked() -> bool:
        return "GET /v1/payment_methods/{id}" in kinds(await _journal(shopper, before))

    await eventually(asked, what="checkout asks Stripe about a card that was renewed")
    assert (await shopper.call("DELETE", f"{url}/{method['id']}", **mine)).status == 204


async def _buy_with_one_click(shopper: Shopper, sku: str) -> None:
    ada = Person(shopper, "ada-" + secrets.token_hex(4))
    await ada.saves("4000002760003184")
    order = (await ada.buys(sku, coupon=await shopper.coupon(percent_off=15))).body
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}/cancel"
    canceled = await shopper.call("POST", url, **{"Order-Token": order["order_token"]})
    assert canceled.body["status"] == "canceled"


async def _abandon(shopper: Shopper, sku: str) -> None:
    order = await shopper.placed(sku)
    assert await shopper.pay(order, card="4000000000000002") == 402
    await shopper.until(order, "failed")
    await shopper.advance(3700)
    await shopper.until(order, "expired")


async def _received(shopper: Shopper) -> int:
    return int((await shopper.stripe("GET", "/_sim/requests"))["received"])


async def _journal(shopper: Shopper, before: int) -> list[Json]:
    """What was sent to Stripe after the first `before` requests."""
    told = await shopper.stripe("GET", "/_sim/requests")
    return list(told["requests"])[before - told["received"] :]
