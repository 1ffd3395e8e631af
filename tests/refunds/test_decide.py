"""The machine of a refund, square by square, and the cap on what goes back."""

from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_shared.errors import Poison
from payments_shared.ids import derived_id
from refunds.decide import machine, owing
from refunds.decide.machine import ARROWS, SPENT, IllegalStep, Input, step
from refunds.decide.owing import Cause
from refunds.model.refunds import Answer, Payment, Refund, State

AT = datetime(2026, 1, 1, tzinfo=UTC)
PAYMENT = Payment("pi_1", derived_id("order", "1"), "usd", 1000)
ENDED = {State.FAILED, State.CANCELED, State.REJECTED}


def a_refund(state: State, amount: int = 1000) -> Refund:
    return Refund(
        owing.refund_id("pi_1", "test"), PAYMENT.order_id, "pi_1", amount, "usd", "test", state, "system:test", "p"
    )


@pytest.mark.parametrize(("state", "received"), list(product(State, Input)))
def test_every_square_is_a_step_or_a_named_error(state: State, received: Input) -> None:
    arrow = ARROWS[state].get(received)

    if arrow is None:
        with pytest.raises(IllegalStep, match=f"a refund that is {state} cannot be {received}"):
            step(a_refund(state), received)
    else:
        assert step(a_refund(state), received).state is arrow


def test_money_that_ended_never_moves_again() -> None:
    assert all(set(ARROWS[state].values()) <= {state} for state in ENDED)
    assert set(ARROWS[State.SUCCEEDED].values()) == {State.SUCCEEDED, State.FAILED, State.CANCELED}
    assert set(State) - ENDED == SPENT


@pytest.mark.parametrize("ending", [Input.SUCCEEDED, Input.FAILED, Input.CANCELED])
def test_words_of_stripe_in_any_order_and_any_number_of_times_end_the_same(ending: Input) -> None:
    words = (Input.PENDING, Input.REQUIRES_ACTION, ending)

    ends = set()
    for order in permutations(words + words):
        refund = a_refund(State.SUBMITTED)
        for word in order:
            refund = step(refund, word)
        ends.add(refund.state)

    assert ends == {State(ending.value)}


def test_a_success_that_the_bank_takes_back_is_a_failure_in_any_order() -> None:
    for order in permutations((Input.PENDING, Input.SUCCEEDED, Input.FAILED)):
        refund = a_refund(State.SUBMITTED)
        for word in order:
            refund = step(refund, word)
        assert refund.state is State.FAILED


def test_an_unknown_word_of_stripe_is_for_a_person() -> None:
    with pytest.raises(Poison, match="unknown_status"):
        machine.input_of(Answer("re_1", "teleported"))


@given(st.lists(st.tuples(st.text(max_size=3), st.none() | st.integers(1, 3000)), max_size=8))
def test_what_goes_back_is_never_more_than_was_taken(causes: list[tuple[str, int | None]]) -> None:
    active = 0
    for reason, amount in causes:
        refund = owing.system_refund(PAYMENT, Cause(reason, amount), active_minor=active)
        if refund is None:
            assert active == PAYMENT.captured_minor
            continue
        assert 0 < refund.refund.amount_minor <= (amount or PAYMENT.captured_minor)
        active += refund.refund.amount_minor
        assert active <= PAYMENT.captured_minor


def test_one_cause_is_one_refund_and_another_cause_another() -> None:
    assert owing.refund_id("pi_1", "shortfall") == owing.refund_id("pi_1", "shortfall")
    assert len({owing.refund_id(i, r) for i in ("pi_1", "pi_2") for r in ("shortfall", "surplus_payment")}) == 4


def test_a_system_refund_has_a_rule_that_asks_and_a_policy_that_allows() -> None:
    refund = owing.system_refund(PAYMENT, Cause("shortfall"), active_minor=0)

    assert refund is not None
    assert (refund.refund.requester, refund.refund.approver, refund.refund.amount_minor) == (
        "system:shortfall",
        owing.POLICY,
        1000,
    )


@pytest.mark.parametrize(("hours", "asks"), [(1, False), (22, False), (24, True), (200, True)])
def test_after_the_memory_of_keys_stripe_is_asked_before_it_is_told(hours: int, asks: bool) -> None:
    refund = a_refund(State.SUBMITTED)

    assert not owing.must_ask_first(refund, AT)
    submitted = Refund(**{f: getattr(refund, f) for f in Refund.__slots__} | {"first_submitted_at": AT})
    assert owing.must_ask_first(submitted, AT + timedelta(hours=hours)) is asks
