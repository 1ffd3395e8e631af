"""The machine of a refund, square by square, and the cap on what goes back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_shared.contracts.refunds import RefundPending
from payments_shared.errors import Poison
from payments_shared.ids import derived_id, external_id
from refunds.decide import machine, owing, saying
from refunds.decide.machine import ARROWS, SPENT, IllegalStep, Input, step
from refunds.decide.owing import Cause
from refunds.model.refunds import Answer, Order, Payment, Refund, State

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


def test_why_a_refund_waits_is_kept_until_it_goes_on_and_no_older_snapshot_brings_it_back() -> None:
    lacks, asks = (
        Answer("re_1", "pending", None, "insufficient_funds"),
        Answer("re_1", "requires_action", None, None, AT),
    )
    works = Answer("re_1", "pending", None, "processing")

    waiting = step(a_refund(State.SUBMITTED), Input.PENDING, lacks)
    working = step(waiting, Input.PENDING, works)
    asking_buyer = step(working, Input.REQUIRES_ACTION, asks)
    older = step(asking_buyer, Input.PENDING, lacks)
    over = step(older, Input.SUCCEEDED, Answer("re_1", "succeeded"))

    assert [one.pending_reason for one in (waiting, working, asking_buyer, older, over)] == [
        "insufficient_funds", "processing", None, None, None,
    ]  # fmt: skip
    assert [one.action_expires_at for one in (waiting, asking_buyer, older, over)] == [None, AT, AT, None]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer("re_1", "pending", None, "insufficient_funds"), ("pending", "insufficient_funds", None)),
        (Answer("re_1", "requires_action", None, None, AT), ("requires_action", None, AT)),
        (Answer("re_1", "pending", None, "processing"), None),
        (Answer("re_1", "pending", None, "charge_pending"), None),
        (Answer("re_1", "succeeded"), None),
    ],
)
def test_only_what_somebody_must_do_is_told(
    answer: Answer, told: tuple[str, str | None, datetime | None] | None
) -> None:
    owed = owing.system_refund(PAYMENT, Cause("shortfall"), active_minor=0)
    assert owed is not None
    refund = step(replace(owed.refund, state=State.SUBMITTED), machine.input_of(answer), answer)

    message = saying.waiting(refund, Order(PAYMENT.order_id, None, paid=True, shortfall=True), owed.request)

    if told is None:
        assert message is None
    else:
        assert isinstance(message, RefundPending)
        assert (message.status, message.pending_reason, message.action_expires_at) == told


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


def test_nothing_is_owed_on_the_payment_of_another_order() -> None:
    owing.refuse_foreign(PAYMENT, PAYMENT.order_id)
    with pytest.raises(Poison, match="payment_of_another_order"):
        owing.refuse_foreign(PAYMENT, derived_id("order", "another"))


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
    assert owing.must_ask_first(replace(submitted, stripe_attempt=1), AT), (
        "under another key it would be another refund"
    )


@pytest.mark.parametrize(
    ("amount", "back", "owed"),
    [(1000, 400, True), (700, 400, True), (600, 400, False), (1000, 0, False), (1000, 1000, False), (1, 1000, False)],
)
def test_where_stripe_refused_more_than_is_left_the_rest_is_owed(amount: int, back: int, *, owed: bool) -> None:
    refused = a_refund(State.SUBMITTED, amount)

    rest = owing.rest_of(refused, PAYMENT, back)

    assert rest == (Cause("test", amount, external_id("ref", refused.id)) if owed else None)


def test_nobody_but_the_system_is_owed_the_rest_of_what_stripe_refused() -> None:
    refused = replace(a_refund(State.SUBMITTED), requester="sam")

    assert owing.rest_of(refused, PAYMENT, 400) is None
