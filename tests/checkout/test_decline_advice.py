"""What a buyer is told of a decline: every code that Stripe documents has an advice, and no thief learns anything."""

import pytest

from checkout.decide import declines
from checkout.decide.declines import Problem
from checkout.model.orders import State
from tests.checkout.test_order_fold import an_order

# Source: Stripe, "Decline codes", cards.
DOCUMENTED = (
    "authentication_required", "approve_with_id", "call_issuer", "card_not_supported", "card_velocity_exceeded",
    "currency_not_supported", "do_not_honor", "do_not_try_again", "duplicate_transaction", "expired_card",
    "fraudulent", "generic_decline", "incorrect_address", "incorrect_cvc", "incorrect_number", "incorrect_pin",
    "incorrect_zip", "insufficient_funds", "invalid_account", "invalid_amount", "invalid_cvc", "invalid_expiry_month",
    "invalid_expiry_year", "invalid_number", "invalid_pin", "issuer_not_available", "lost_card", "merchant_blacklist",
    "mobile_device_authentication_required", "new_account_information_available", "no_action_taken", "not_permitted",
    "offline_pin_required", "online_or_offline_pin_required", "pickup_card", "pin_try_exceeded", "processing_error",
    "reenter_transaction", "restricted_card", "revocation_of_all_authorizations", "revocation_of_authorization",
    "security_violation", "service_not_allowed", "stolen_card", "stop_payment_order", "testmode_decline",
    "transaction_not_allowed", "try_again_later", "withdrawal_count_limit_exceeded",
)  # fmt: skip
HIDDEN = ("fraudulent", "lost_card", "stolen_card", "pickup_card", "restricted_card", "merchant_blacklist")
ADVISED = (None, "confirm_card_data", "do_not_try_again", "try_again_later", "something_new")


def test_every_documented_code_is_in_the_table() -> None:
    assert [code for code in DOCUMENTED if code not in declines.PROBLEMS] == []


@pytest.mark.parametrize("code", HIDDEN)
@pytest.mark.parametrize("advised", ADVISED)
def test_a_lost_card_reads_like_any_other_decline(code: str, advised: str | None) -> None:
    assert declines.problem_of(code, advised) is declines.problem_of("generic_decline", advised)


def test_no_advice_speaks_of_loss_theft_or_suspicion() -> None:
    said = " ".join(declines.advice_on(problem, "usd").advice.lower() for problem in Problem)

    assert [word for word in ("lost", "stolen", "fraud", "suspic", "block", "police", "risk") if word in said] == []


@pytest.mark.parametrize(
    ("code", "advised", "problem", "retryable"),
    [
        ("insufficient_funds", None, Problem.INSUFFICIENT_FUNDS, True),
        ("expired_card", None, Problem.CARD_EXPIRED, False),
        ("incorrect_cvc", "do_not_try_again", Problem.CHECK_DETAILS, True),
        ("processing_error", None, Problem.TRY_AGAIN, True),
        ("generic_decline", None, Problem.CONTACT_BANK, False),
        ("generic_decline", "try_again_later", Problem.TRY_AGAIN, True),
        ("generic_decline", "do_not_try_again", Problem.USE_ANOTHER_CARD, False),
        ("do_not_honor", "confirm_card_data", Problem.CHECK_DETAILS, True),
        ("authentication_required", None, Problem.AUTHENTICATE, True),
        ("made_up_next_year", None, Problem.CONTACT_BANK, False),
        ("made_up_next_year", "try_again_later", Problem.TRY_AGAIN, True),
        (None, None, Problem.CONTACT_BANK, False),
    ],
)
def test_a_code_has_one_advice_and_what_is_unknown_falls_back(
    code: str | None, advised: str | None, problem: Problem, retryable: bool
) -> None:
    found = declines.problem_of(code, advised)

    assert (found, declines.advice_on(found, "usd").retryable) == (problem, retryable)


@pytest.mark.parametrize("problem", Problem)
@pytest.mark.parametrize("currency", ["usd", "jpy"])
def test_every_problem_has_words_and_another_way_to_pay(problem: Problem, currency: str) -> None:
    advice = declines.advice_on(problem, currency)

    assert advice.advice.endswith(".")
    assert advice.alternatives
    assert set(advice.alternatives) <= {"another_card", "wallet", "bank_debit"}
    assert ("bank_debit" in advice.alternatives) == (currency == "usd" and problem is not Problem.NOT_RECEIVED)


@pytest.mark.parametrize(
    ("state", "problem", "told"),
    [
        (State.DECLINED, "check_details", Problem.CHECK_DETAILS),
        (State.EXPIRED, "check_details", Problem.CHECK_DETAILS),
        (State.SETTLEMENT_FAILED, "insufficient_funds", Problem.INSUFFICIENT_FUNDS),
        (State.SETTLEMENT_FAILED, None, Problem.NOT_RECEIVED),
        (State.PENDING, None, None),
        (State.EXPIRED, None, None),
        (State.PROCESSING, "check_details", None),
        (State.PAID, "check_details", None),
        (State.CANCELED, "check_details", None),
    ],
)
def test_only_an_order_whose_payment_failed_has_a_problem(
    state: State, problem: str | None, told: Problem | None
) -> None:
    advice = declines.advice_for(an_order(state=state, payment_problem=problem))

    assert (advice and advice.code) == told
