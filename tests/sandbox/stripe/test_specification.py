"""Stripe's own specification judges every answer and every event, whatever is asked."""

from collections.abc import Callable
from typing import Final

import pytest

from sandbox.stripe.app import RESOURCES
from tests.sandbox.stripe.simulator import CARD, SHOP, Answer, Json, Simulator
from tests.support.stripe_spec import ALLOWED, allowed, specification

SEPA: Final = "AT611904300234573201"
Record = Callable[[str, object], None]


async def test_every_route_answers_as_specified(simulator: Simulator, record_property: Record) -> None:
    await _sell(simulator)
    await _charge(simulator)
    await _dispute(simulator)
    await _keep_books(simulator)
    await _save_methods(simulator)
    await _listen(simulator)

    events = await simulator.events()

    judge = specification()
    record_property("judged_by", f"Stripe's specification {judge.version} ({judge.requirement})")
    assert _routes() - {_route(method, path) for method, path in simulator.driven} == set()
    assert len({event["type"] for event in events}) >= 45, sorted({event["type"] for event in events})


async def _sell(simulator: Simulator) -> None:
    await simulator.post("coupons", {"id": "TEN", "amount_off": 100, "currency": "usd", "duration": "once"})
    await simulator.post("coupons", {"percent_off": 12.5, "duration": "once", "name": "An eighth"})
    await simulator.get("coupons/TEN")
    product = await simulator.post("products", {"name": "Tea", "metadata": {"leaf": "green"}})
    await simulator.get(f"products/{product['id']}")
    await simulator.post(f"products/{product['id']}", {"description": "From Kyoto", "metadata": {"leaf": ""}})
    price = await simulator.post("prices", {"currency": "usd", "unit_amount": 900, "product": product["id"]})
    await simulator.post(
        "prices", {"currency": "usd", "product_data": {"name": "Box"}, "recurring": {"interval": "month"}}
    )
    await simulator.get("prices", {"product": product["id"]})
    await simulator.get(f"prices/{price['id']}")
    await simulator.post(f"prices/{price['id']}", {"nickname": "plain", "active": False})
    session = await simulator.session(
        line_items=[{"price": price["id"], "quantity": 3}],
        discounts=[{"coupon": "TEN"}],
        metadata={"order_id": "ord_1"},
        payment_intent_data={"metadata": {"order_id": "ord_1"}, "description": "Order 1"},
        shipping_address_collection={"allowed_countries": ["GB", "DE"]},
        customer_email="ada@example.com",
        client_reference_id="ord_1",
        locale="en",
        expand=["line_items"],
    )
    await simulator.submit(session)
    paths = ["line_items", "payment_intent.latest_charge.refunds", "payment_intent.latest_charge.balance_transaction"]
    whole = await simulator.get(f"checkout/sessions/{session['id']}", {"expand": paths})
    assert (whole["amount_total"], whole["total_details"]["amount_discount"]) == (2600, 100)
    assert whole["payment_intent"]["latest_charge"]["amount"] == 2600
    await simulator.get(f"checkout/sessions/{session['id']}/line_items")
    await simulator.get("checkout/sessions", {"payment_intent": whole["payment_intent"]["id"], "limit": 1})
    given_up = await simulator.session()
    await simulator.submit(given_up, "4000000000000002")
    await simulator.post(f"checkout/sessions/{given_up['id']}/expire")
    for iban in (SEPA, "IT60X0542811101000000123456"):
        await simulator.submit(await simulator.session(), iban, method="sepa_debit")
    await simulator.later(6 * 86_400)
    by_tool = await simulator.session()
    await simulator.call("GET", f"/v1/payment_pages/{by_tool['id']}")
    await simulator.call("POST", f"/v1/payment_pages/{by_tool['id']}/confirm", {"expected_amount": 1800})
    await simulator.call("DELETE", "/v1/coupons/TEN")
    address = {"address": {"country": "DE"}, "address_source": "shipping"}
    cart = {"currency": "eur", "line_items": [{"amount": 1000, "reference": "TEA"}], "customer_details": address}
    calculation = await simulator.post("tax/calculations", cart)
    await simulator.get(f"tax/calculations/{calculation['id']}")


async def _charge(simulator: Simulator) -> None:
    intent = await simulator.post("payment_intents", {"amount": 500, "currency": "usd", "metadata": {"a": "b"}})
    await simulator.post(
        f"payment_intents/{intent['id']}", {"amount": 600, "description": "more", "metadata": {"a": ""}}
    )
    await simulator.post(f"payment_intents/{intent['id']}/confirm", {"payment_method": "pm_card_visa"})
    held = await _confirmed(simulator, "pm_card_visa", capture_method="manual")
    await simulator.post(f"payment_intents/{held.body['id']}/capture", {"amount_to_capture": 300})
    given_up = await _confirmed(simulator, "pm_card_visa", capture_method="manual")
    await simulator.post(f"payment_intents/{given_up.body['id']}/cancel", {"cancellation_reason": "abandoned"})
    assert (await _confirmed(simulator, "pm_card_threeDSecure2Required")).body["status"] == "requires_action"
    assert (await _confirmed(simulator, "pm_card_chargeDeclined")).status == 402
    await simulator.get("payment_intents", {"limit": 2})
    await simulator.get("charges", {"payment_intent": intent["id"]})
    whole = await simulator.get(f"payment_intents/{intent['id']}", {"expand": ["latest_charge"]})
    charge = whole["latest_charge"]["id"]
    refund = await simulator.post("refunds", {"charge": charge, "amount": 100, "reason": "duplicate"})
    await simulator.post(f"refunds/{refund['id']}", {"metadata": {"refund_id": "ref_1"}})
    await simulator.get(f"refunds/{refund['id']}", {"expand": ["charge"]})
    await simulator.get("refunds", {"payment_intent": intent["id"]})
    await simulator.get(f"charges/{charge}", {"expand": ["refunds"]})
    for card in ("pm_card_pendingRefund", "pm_card_refundFail", "pm_card_refundLacksFunds", "pm_card_refundAsksBuyer"):
        slow = await _confirmed(simulator, card)
        await simulator.post("refunds", {"payment_intent": slow.body["id"], "amount": 200})
    await simulator.later(4_000)
    waiting = await _confirmed(simulator, "pm_card_pendingRefund")
    made = await simulator.post("refunds", {"payment_intent": waiting.body["id"]})
    await simulator.control(f"refunds/{made['id']}", {"status": "requires_action"})
    await simulator.post(f"refunds/{made['id']}/cancel")


async def _confirmed(simulator: Simulator, method: str, **given: str) -> Answer:
    form = {"amount": 500, "currency": "usd", "confirm": True, "payment_method": method, **given}
    return await simulator.call("POST", "/v1/payment_intents", form)


async def _dispute(simulator: Simulator) -> None:
    for text, status in (("winning_evidence", "won"), ("losing_evidence", "lost"), ("a letter", "under_review")):
        intent = (await _confirmed(simulator, "pm_card_createDispute")).body
        dispute = (await simulator.get("disputes", {"payment_intent": intent["id"]}))["data"][0]
        after = await simulator.post(f"disputes/{dispute['id']}", {"evidence": {"uncategorized_text": text}})
        assert after["status"] == status
        await simulator.get(f"disputes/{dispute['id']}")
    intent = (await _confirmed(simulator, "pm_card_createDispute")).body
    dispute = (await simulator.get("disputes", {"payment_intent": intent["id"]}))["data"][0]
    printed = (await simulator.upload(b"%PDF-1.7 a letter")).body
    await simulator.get(f"files/{printed['id']}")
    await simulator.get("files", {"purpose": "dispute_evidence"})
    staged = {"evidence": {"uncategorized_file": printed["id"], "customer_name": "Ada"}, "submit": False}
    await simulator.post(f"disputes/{dispute['id']}", staged)
    await _confirmed(simulator, "pm_card_createDisputeInquiry")
    inquiry = (await simulator.get("disputes", {"limit": 1}))["data"][0]
    assert (await simulator.post(f"disputes/{inquiry['id']}/close"))["status"] == "warning_closed"
    charge = (await _confirmed(simulator, "pm_card_visa")).body["latest_charge"]
    opened = await simulator.control(f"charges/{charge}/dispute", {"inquiry": True, "amount": 300})
    await simulator.control(f"disputes/{opened['id']}/escalate", {})
    escalated = await simulator.get(f"disputes/{opened['id']}")
    assert (escalated["status"], escalated["amount"], escalated["is_charge_refundable"]) == (
        "needs_response",
        300,
        False,
    )
    await simulator.control(f"disputes/{opened['id']}", {"won": False})
    assert (await simulator.post("refunds", {"charge": charge}))["amount"] == 200
    reviewed = (await _confirmed(simulator, "pm_card_visa")).body["latest_charge"]
    review = await simulator.control(f"charges/{reviewed}/review", {"reason": "manual"})
    assert (await simulator.get(f"charges/{reviewed}"))["review"] == review["id"]
    await simulator.control(f"reviews/{review['id']}/close", {"closed_reason": "refunded_as_fraud"})
    assert (await simulator.get(f"charges/{reviewed}"))["review"] is None
    await simulator.control(f"charges/{reviewed}/warn", {"fraud_type": "made_with_stolen_card"})
    for card in ("4000000000009235", "4000000000005423", "4100000000000019"):
        await simulator.submit(await simulator.session(), card)


async def _keep_books(simulator: Simulator) -> None:
    movement = (await simulator.get("balance_transactions", {"limit": 1}))["data"][0]
    assert movement["net"] == movement["amount"] - movement["fee"]
    await simulator.get(f"balance_transactions/{movement['id']}", {"expand": ["source"]})
    customer = await simulator.post("customers", {"email": "ada@example.com", "name": "Ada"})
    card = await simulator.post("payment_methods", {"type": "card", "card": {"token": "tok_visa"}})
    debit = {"type": "sepa_debit", "sepa_debit": {"iban": SEPA}, "billing_details": {"name": "Ada"}}
    account = await simulator.post("payment_methods", debit)
    await simulator.get(f"payment_methods/{account['id']}")
    await simulator.post(f"payment_methods/{card['id']}/attach", {"customer": customer["id"]})
    await simulator.post(f"payment_methods/{card['id']}/detach")
    await simulator.post(f"customers/{customer['id']}", {"name": "Ada Lovelace", "metadata": {"vip": "yes"}})
    await simulator.get(f"customers/{customer['id']}")
    await simulator.get("customers", {"email": "ada@example.com"})
    await simulator.call("DELETE", f"/v1/customers/{customer['id']}")
    product = await simulator.post("products", {"name": "Gone tomorrow"})
    await simulator.call("DELETE", f"/v1/products/{product['id']}")


async def _save_methods(simulator: Simulator) -> None:
    customer = await simulator.post("customers", {"email": "ada@example.com", "metadata": {"subject": "ada"}})
    mine = {"customer": customer["id"]}
    for card in (CARD, "4000000000000002", "4000002760003184"):
        form = {"mode": "setup", "currency": "usd", "success_url": SHOP, **mine}
        session = await simulator.post("checkout/sessions", form | {"setup_intent_data": {"metadata": {"a": "b"}}})
        await simulator.get(f"checkout/sessions/{session['id']}", {"expand": ["setup_intent"]})
        await simulator.submit(session, card)
        if card != CARD:
            await simulator.post(f"checkout/sessions/{session['id']}/expire")
    intent = await simulator.post("setup_intents", {**mine, "metadata": {"a": "b"}})
    await simulator.post(f"setup_intents/{intent['id']}/confirm", {"payment_method": "pm_card_mastercard"})
    await simulator.get(f"setup_intents/{intent['id']}", {"expand": ["payment_method"]})
    given_up = await simulator.post("setup_intents", {"usage": "on_session"})
    await simulator.post(f"setup_intents/{given_up['id']}/cancel", {"cancellation_reason": "abandoned"})
    declined = {"confirm": True, "payment_method": "pm_card_chargeDeclined", **mine}
    assert (await simulator.call("POST", "/v1/setup_intents", declined)).status == 402
    await simulator.get("setup_intents", mine)
    listed = (await simulator.get("payment_methods", {**mine, "type": "card"}))["data"]
    assert [(m["card"]["brand"], m["allow_redisplay"]) for m in listed] == [
        ("mastercard", "unspecified"),
        ("visa", "always"),
    ]
    method = f"payment_methods/{listed[1]['id']}"
    changed = await simulator.post(method, {"card": {"exp_month": 3, "exp_year": 2035}, "allow_redisplay": "limited"})
    assert (changed["card"]["exp_month"], changed["allow_redisplay"]) == (3, "limited")
    await simulator.control(f"{method}/renew", {"exp_year": 2039})
    await simulator.paid(saved_payment_method_options={"payment_method_save": "enabled"}, **mine)
    await simulator.post(f"{method}/detach")


async def _listen(simulator: Simulator) -> None:
    form: Json = {"url": "https://shop.test/hook", "enabled_events": ["charge.refunded"]}
    endpoint = await simulator.post("webhook_endpoints", form)
    assert endpoint["secret"].startswith("whsec_")
    assert "secret" not in await simulator.get(f"webhook_endpoints/{endpoint['id']}")
    await simulator.post(f"webhook_endpoints/{endpoint['id']}", {"disabled": True, "enabled_events": ["*"]})
    await simulator.get("webhook_endpoints")
    await simulator.call("DELETE", f"/v1/webhook_endpoints/{endpoint['id']}")
    event = (await simulator.events())[0]
    await simulator.get(f"events/{event['id']}")


def _routes() -> set[tuple[str, str]]:
    """All routes of the simulator."""
    return {(row[0], "/v1/" + row[1]) for made in RESOURCES for row in made(None).table()}  # type: ignore[arg-type]


def _route(method: str, path: str) -> tuple[str, str]:
    steps = path.split("/")
    fitting = [
        route for verb, route in _routes()
        if verb == method and len(route.split("/")) == len(steps)
        and all(want in ("{id}", got) for want, got in zip(route.split("/"), steps, strict=True))
    ]  # fmt: skip
    return method, min(fitting, key=lambda route: route.count("{"))


REFUSALS: Final[list[tuple[str, str, Json, int, str | None]]] = [
    ("POST", "/v1/refunds", {"amount": 5}, 400, "parameter_missing"),
    ("POST", "/v1/refunds", {"payment_intent": "pi_no"}, 404, "resource_missing"),
    ("GET", "/v1/refunds/re_no", {}, 404, "resource_missing"),
    ("GET", "/v1/refunds", {"starting_after": "re_no"}, 400, "resource_missing"),
    ("GET", "/v1/refunds", {"limit": 101}, 400, None),
    ("POST", "/v1/payment_intents", {"amount": 0, "currency": "usd"}, 400, "parameter_invalid_integer"),
    ("POST", "/v1/payment_intents", {"currency": "usd"}, 400, "parameter_missing"),
    ("POST", "/v1/checkout/sessions", {"mode": "payment", "success_url": "http://a"}, 400, "parameter_missing"),
    ("POST", "/v1/checkout/sessions", {"ui_mode": "hosted"}, 400, None),
    ("POST", "/v1/checkout/sessions", {"mode": "payment", "colour": "red"}, 400, "parameter_unknown"),
    ("POST", "/v1/checkout/sessions", {"mode": "setup", "success_url": "http://a"}, 400, "parameter_missing"),
    ("POST", "/v1/checkout/sessions", {"success_url": "http://a", "customer": "cus_no"}, 400, "resource_missing"),
    ("POST", "/v1/customers", {"email": "ada@example"}, 400, "email_invalid"),
    ("POST", "/v1/setup_intents", {"customer": "cus_no"}, 400, "resource_missing"),
    ("GET", "/v1/payment_methods/pm_no", {}, 404, "resource_missing"),
    ("POST", "/v1/nothing", {}, 404, None),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: f"{case[1]} {case[4]}")
async def test_a_refusal_has_stripes_shape(simulator: Simulator, case: tuple[str, str, Json, int, str | None]) -> None:
    method, path, form, status, code = case
    known = path != "/v1/nothing"

    answer = await simulator.refused(method, path, form, judged=known)

    assert (answer.status, answer.error.get("code")) == (status, code)
    assert answer.error["type"] == "invalid_request_error"


async def test_nothing_but_the_listed_routes_leaves_the_specification() -> None:
    judge = specification()

    unspecified = {(method, path) for method, path in _routes() if (method, path) not in judge.operations()}

    assert len(unspecified) == len(ALLOWED)
    assert all(allowed(method, path) for method, path in unspecified)
