"""Sessions that ship, and Stripe Tax: on the page, and asked beforehand."""

from typing import Any, Final

import pytest

from tests.sandbox.stripe.simulator import CARD, Json, Simulator

BOOK: Final = "txcd_35010000"
GERMANY: Final = {"allowed_countries": ["DE"]}


def way(name: str, amount: int, **given: Any) -> Json:
    money = {"amount": amount, "currency": "usd"}
    return {"shipping_rate_data": {"type": "fixed_amount", "display_name": name, "fixed_amount": money, **given}}


def priced(amount: int, quantity: int = 1, *, behavior: str = "exclusive", **product: str) -> Json:
    data = {"currency": "usd", "unit_amount": amount, "tax_behavior": behavior}
    return {"quantity": quantity, "price_data": {**data, "product_data": {"name": "Thing", **product}}}


async def pay(simulator: Simulator, session: Json, **typed: str) -> Json:
    form = {"number": CARD, "email": "ada@example.com", "name": "Ada", "method": "card", **typed}
    status, _ = await simulator.fill(f"{simulator.url}/c/pay/{session['id']}", form)
    assert status == 303
    return await simulator.get(f"checkout/sessions/{session['id']}", {"expand": ["payment_intent"]})


async def test_the_first_way_to_ship_is_in_the_total_until_another_is_chosen(simulator: Simulator) -> None:
    estimate = {"minimum": {"unit": "business_day", "value": 2}, "maximum": {"unit": "business_day", "value": 5}}
    ways = [way("Post", 500, delivery_estimate=estimate, metadata={"option": "post"}), way("Express", 1500)]
    session = await simulator.session(1800, shipping_address_collection=GERMANY, shipping_options=ways)
    express = session["shipping_options"][1]["shipping_rate"]

    paid = await pay(simulator, session, shipping_rate=express)

    assert (session["amount_total"], session["shipping_cost"]["amount_total"]) == (2300, 500)
    assert (paid["amount_total"], paid["payment_intent"]["amount"]) == (3300, 3300)
    assert paid["total_details"]["amount_shipping"] == paid["shipping_cost"]["amount_subtotal"] == 1500
    assert paid["collected_information"]["shipping_details"]["address"]["country"] == "DE"


async def test_the_shop_ships_only_where_it_said(simulator: Simulator) -> None:
    session = await simulator.session(1800, shipping_address_collection=GERMANY)

    status, _ = await simulator.fill(
        f"{simulator.url}/c/pay/{session['id']}", {"number": CARD, "email": "a@b.example", "country": "FR"}
    )

    assert status == 409
    assert (await simulator.get(f"checkout/sessions/{session['id']}"))["status"] == "open"


@pytest.mark.parametrize("behavior", ["exclusive", "inclusive"])
async def test_tax_is_known_once_the_buyer_has_typed_his_address(simulator: Simulator, behavior: str) -> None:
    await simulator.post("coupons", {"id": "OFF", "amount_off": 250, "currency": "usd", "duration": "once"})
    session = await simulator.session(
        line_items=[priced(500, 2, behavior=behavior), priced(1000, behavior=behavior, tax_code=BOOK)],
        discounts=[{"coupon": "OFF"}],
        automatic_tax={"enabled": "true"},
        shipping_address_collection=GERMANY,
        shipping_options=[way("Post", 500, tax_behavior=behavior)],
    )

    paid = await pay(simulator, session)

    # 19 % of 875, 7 % of 875 and 19 % of 500
    expected = 166 + 61 + 95 if behavior == "exclusive" else 140 + 57 + 80
    assert session["automatic_tax"]["status"] == "requires_location_inputs"
    assert session["total_details"]["amount_tax"] == 0
    assert paid["automatic_tax"]["status"] == "complete"
    assert paid["total_details"]["amount_tax"] == expected
    assert paid["amount_total"] == 2250 + (expected if behavior == "exclusive" else 0)
    assert paid["payment_intent"]["amount"] == paid["amount_total"]


async def test_what_is_asked_beforehand_is_what_a_page_would_charge(simulator: Simulator) -> None:
    lines = [
        {"amount": 875, "quantity": 2, "reference": "MUG", "tax_behavior": "exclusive"},
        {"amount": 875, "reference": "NOVEL", "tax_behavior": "exclusive", "tax_code": BOOK},
    ]
    details = {"address": {"country": "DE"}, "address_source": "shipping"}

    made = await simulator.post(
        "tax/calculations",
        {
            "currency": "usd",
            "line_items": lines,
            "customer_details": details,
            "shipping_cost": {"amount": 500, "tax_behavior": "exclusive"},
            "expand": ["line_items"],
        },
    )

    assert made["tax_amount_exclusive"] == 166 + 61 + 95
    assert made["amount_total"] == 2250 + 166 + 61 + 95
    assert [line["amount_tax"] for line in made["line_items"]["data"]] == [166, 61]
    assert (await simulator.get(f"tax/calculations/{made['id']}"))["amount_total"] == made["amount_total"]


async def test_a_place_in_america_needs_more_than_the_country(simulator: Simulator) -> None:
    form = {
        "currency": "usd",
        "line_items": [{"amount": 1000, "reference": "MUG"}],
        "customer_details": {"address": {"country": "US"}, "address_source": "billing"},
    }

    refused = await simulator.refused("POST", "/v1/tax/calculations", form)
    state = {"address": {"country": "US", "state": "NY"}, "address_source": "billing"}
    taken = await simulator.post("tax/calculations", {**form, "customer_details": state})

    assert (refused.status, refused.error["code"]) == (400, "customer_tax_location_invalid")
    assert taken["tax_amount_exclusive"] == 89


REFUSALS: Final = [
    ({"shipping_options": [way("Post", 500)] * 6}, None),
    ({"shipping_options": [way("Post", 500, colour="red")]}, "parameter_unknown"),
    ({"shipping_options": [{"shipping_rate_data": {"display_name": "Post"}}]}, "parameter_missing"),
    ({"automatic_tax": {"enabled": "true", "colour": "red"}}, "parameter_unknown"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=str)
async def test_odd_wishes_are_refused(simulator: Simulator, case: tuple[Json, str | None]) -> None:
    given, code = case
    form = {"mode": "payment", "success_url": "http://a.example", "line_items": [priced(1000)], **given}

    answer = await simulator.refused("POST", "/v1/checkout/sessions", form)

    assert (answer.status, answer.error.get("code")) == (400, code)
