"""Sessions that leave payment methods out, ask for 3-D Secure, or know where their buyer comes from."""

from typing import Final

import pytest

from tests.sandbox.stripe.simulator import CARD, SHOP, Json, Simulator

IBAN: Final = "DE89370400440532013000"


async def test_what_is_left_out_is_not_offered(simulator: Simulator) -> None:
    session = await simulator.session(excluded_payment_method_types=["sepa_debit", "klarna"])

    status, _ = await simulator.submit(session, IBAN, method="sepa_debit")
    paid, _ = await simulator.submit(session)

    assert session["payment_method_types"] == ["card"]
    assert session["excluded_payment_method_types"] == ["sepa_debit", "klarna"]
    assert (status, paid) == (409, 303)


@pytest.mark.parametrize("wish", ["any", "challenge"])
async def test_every_card_is_confirmed_where_the_session_asks_for_it(simulator: Simulator, wish: str) -> None:
    session = await simulator.session(
        payment_method_options={"card": {"request_three_d_secure": wish}}, expand=["payment_intent"]
    )

    status, place = await simulator.submit(session)
    open_still = await simulator.get(f"checkout/sessions/{session['id']}", {"expand": ["payment_intent"]})
    confirmed, _ = await simulator.fill(simulator.url + place, {"answer": "complete"})

    assert (status, place.startswith("/c/challenge/"), confirmed) == (303, True, 303)
    assert open_still["payment_intent"]["status"] == "requires_action"
    assert open_still["payment_intent"]["payment_method_options"]["card"]["request_three_d_secure"] == wish
    assert (await simulator.get(f"checkout/sessions/{session['id']}"))["payment_status"] == "paid"


async def test_automatic_is_what_stripe_does_anyway(simulator: Simulator) -> None:
    session = await simulator.session(payment_method_options={"card": {"request_three_d_secure": "automatic"}})

    status, place = await simulator.submit(session, CARD)

    assert (status, place.startswith(SHOP)) == (303, True)


async def test_a_session_keeps_where_its_buyer_comes_from(simulator: Simulator) -> None:
    session = await simulator.session(origin_context="mobile_app", wallet_options={"link": {"display": "auto"}})

    assert session["origin_context"] == "mobile_app"
    assert session["wallet_options"] == {"link": {"display": "auto"}}


REFUSALS: Final = [
    ({"excluded_payment_method_types": ["card", "sepa_debit"]}, None),
    ({"excluded_payment_method_types": ["klarna"], "payment_method_types": ["card"]}, None),
    ({"payment_method_options": {"card": {"request_three_d_secure": "never"}}}, None),
    ({"payment_method_options": {"card": {"colour": "red"}}}, "parameter_unknown"),
    (
        {"payment_method_options": {"gold": {}, "card": {"request_three_d_secure": "any"}, "x": "1"}},
        "parameter_unknown",
    ),
    ({"origin_context": "fridge"}, None),
]


@pytest.mark.parametrize("case", REFUSALS, ids=str)
async def test_odd_wishes_are_refused(simulator: Simulator, case: tuple[Json, str | None]) -> None:
    given, code = case
    data = {"currency": "usd", "unit_amount": 1000, "product_data": {"name": "Tea"}}
    form = {"success_url": SHOP, "line_items": [{"quantity": 1, "price_data": data}], **given}

    answer = await simulator.refused("POST", "/v1/checkout/sessions", form)

    assert (answer.status, answer.error.get("code")) == (400, code)
