"""The hosted page: plain forms by which a buyer pays, is declined, is challenged, or pays by a delayed debit."""

from typing import Final

import pytest

from tests.sandbox.stripe.simulator import CARD, SHOP, Json, Simulator

CHALLENGED: Final = "4000002760003184"
GOOD: Final = "AT61 1904 3002 3457 3201"
BAD: Final = "IT60X0542811101000000123456"


async def _status(simulator: Simulator, session: Json) -> tuple[str, str]:
    read = await simulator.get(f"checkout/sessions/{session['id']}")
    return read["status"], read["payment_status"]


async def test_the_page_shows_what_is_paid_for(simulator: Simulator) -> None:
    await simulator.post("coupons", {"id": "TEN", "amount_off": 1000, "currency": "usd", "duration": "once"})
    session = await simulator.session(4200, discounts=[{"coupon": "TEN"}], customer_email="ada@example.com")

    async with simulator.http.get(session["url"]) as answer:
        page = await answer.text()

    assert answer.status == 200
    for text in ("Tea", "$42.00", "−$10.00", "$32.00", "ada@example.com", SHOP + "/cart"):
        assert text in page
    assert "<script" not in page
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_a_good_card_leads_back_to_the_shop(simulator: Simulator) -> None:
    session = await simulator.session()

    status, where = await simulator.submit(session, "4242 4242 4242 4242")

    assert (status, where) == (303, f"{SHOP}/success?session={session['id']}")
    assert await _status(simulator, session) == ("complete", "paid")


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ("4000000000000002", "declined"),
        ("4000000000009995", "insufficient funds"),
        ("4000000000000069", "expired"),
        ("4000000000000127", "security code"),
        ("4242", "incomplete"),
    ],
)
async def test_a_bad_card_leaves_the_page_open_for_another(simulator: Simulator, card: str, says: str) -> None:
    session = await simulator.session()

    status, page = await simulator.submit(session, card)
    again, _ = await simulator.submit(session, CARD)

    assert (status, again) == (402, 303)
    assert says in page
    assert f'value="{card}"' in page
    assert 'aria-describedby="number-error"' in page
    assert await _status(simulator, session) == ("complete", "paid")


async def test_a_challenge_must_be_passed_before_money_moves(simulator: Simulator) -> None:
    session = await simulator.session()

    status, where = await simulator.submit(session, CHALLENGED)
    asked = await _status(simulator, session)
    async with simulator.http.get(simulator.url + where) as answer:
        question = await answer.text()
    passed, back = await simulator.fill(simulator.url + where, {"answer": "complete"})
    twice, _ = await simulator.fill(simulator.url + where, {"answer": "complete"})

    assert (status, asked, passed, twice) == (303, ("open", "unpaid"), 303, 404)
    assert "$18.00" in question
    assert back.startswith(SHOP)
    assert await _status(simulator, session) == ("complete", "paid")
    assert (await simulator.types()).count("charge.succeeded") == 1
    assert "payment_intent.requires_action" in await simulator.types()


async def test_a_failed_challenge_is_a_decline(simulator: Simulator) -> None:
    session = await simulator.session()
    _, where = await simulator.submit(session, CHALLENGED)

    status, page = await simulator.fill(simulator.url + where, {"answer": "fail"})

    assert status == 402
    assert "confirmation failed" in page
    assert f'action="/c/pay/{session["id"]}"' in page
    assert await _status(simulator, session) == ("open", "unpaid")
    assert (await simulator.submit(session))[0] == 303


async def test_a_challenge_of_an_expired_session_takes_nothing(simulator: Simulator) -> None:
    session = await simulator.session()
    _, where = await simulator.submit(session, CHALLENGED)
    await simulator.post(f"checkout/sessions/{session['id']}/expire")

    status, _ = await simulator.fill(simulator.url + where, {"answer": "complete"})

    assert status == 404
    assert await _status(simulator, session) == ("expired", "unpaid")
    assert "payment_intent.canceled" in await simulator.types()


@pytest.mark.parametrize(
    ("iban", "payment", "event"),
    [
        (GOOD, "paid", "checkout.session.async_payment_succeeded"),
        (BAD, "unpaid", "checkout.session.async_payment_failed"),
    ],
)
async def test_a_debit_completes_unpaid_and_ends_days_later(
    simulator: Simulator, iban: str, payment: str, event: str
) -> None:
    session = await simulator.session()
    status, _ = await simulator.submit(session, iban, method="sepa_debit")
    at_first = await _status(simulator, session)
    await simulator.later(4 * 86_400)
    before = await simulator.types()
    await simulator.later(2 * 86_400)

    assert (status, at_first) == (303, ("complete", "unpaid"))
    assert event not in before
    assert await _status(simulator, session) == ("complete", payment)
    assert (await simulator.types()).count(event) == 1


async def test_a_debit_can_be_settled_by_hand_and_then_never_again(simulator: Simulator) -> None:
    session = await simulator.session()
    await simulator.submit(session, GOOD, method="sepa_debit")

    await simulator.control(f"sessions/{session['id']}/settle", {"succeed": False})
    await simulator.later(6 * 86_400)

    types = await simulator.types()
    assert await _status(simulator, session) == ("complete", "unpaid")
    assert types.count("checkout.session.async_payment_failed") == 1
    assert "checkout.session.async_payment_succeeded" not in types


async def test_a_session_ends_with_its_time_and_takes_no_money_afterwards(simulator: Simulator) -> None:
    session = await simulator.session()
    await simulator.later(86_400 + 1)

    status, page = await simulator.submit(session)

    assert (status, "ended" in page) == (409, True)
    assert await _status(simulator, session) == ("expired", "unpaid")
    assert await simulator.types() == ["checkout.session.expired"]


async def test_a_page_that_was_paid_cannot_be_paid_again(simulator: Simulator) -> None:
    session = await simulator.session()
    await simulator.submit(session)

    status, _ = await simulator.submit(session)

    assert status == 409
    assert (await simulator.types()).count("charge.succeeded") == 1
