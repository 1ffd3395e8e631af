"""Every order of arrival of an order's facts ends alike and says order.paid once."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from checkout.decide import order as rules
from checkout.decide.order import STRENGTH, Say
from checkout.model import (
    Abandoned,
    Fact,
    HoldEnded,
    IntentDeclined,
    IntentFetched,
    IntentSucceeded,
    Order,
    OrderEnded,
    PricedLine,
    SessionSeen,
    State,
)
from payments_shared.ids import derived_id

AT = datetime(2026, 1, 1, tzinfo=UTC)


def an_order(**given: Any) -> Order:
    order = Order(
        id=derived_id("order", "1"), state=State.PENDING, held_reason=None, held_until=None, dishonoured=False,
        currency="usd", subtotal_minor=3600, discount_minor=0, tax_minor=0, shipping_minor=0, total_minor=3600,
        coupon=None, lines=(PricedLine("MUG", "Mug", 2, 1800),), email="a@example.com", customer_subject=None,
        locale="en-US", token_hash=b"", stripe_request={}, stripe_attempt=0, stripe_session_id="cs_1",
        stripe_session_url=None, stripe_payment_intent=None, shipment_id=None, shipment_status=None, refunds={},
        expires_at=AT, paid_at=None, version=0, created_at=AT,
    )  # fmt: skip
    return replace(order, **given)


def a_session(session_id: str = "cs_1", **given: Any) -> SessionSeen:
    session = SessionSeen(
        session_id=session_id, status="complete", payment_status="paid", payment_intent="pi_1", currency="usd",
        subtotal_minor=3600, discount_minor=0, total_minor=3600,
    )  # fmt: skip
    return replace(session, **given)


PAID = a_session()
CAPTURED = IntentSucceeded("pi_1", 3600, "usd")
UNPAID = a_session(payment_status="unpaid")
EXPIRED = a_session(status="expired", payment_status="unpaid", payment_intent=None)
FAILED = a_session(payment_status="unpaid", failed=True)
DECLINE_1 = IntentDeclined("pi_1", "ch_1", "generic_decline")
DECLINE_2 = IntentDeclined("pi_1", "ch_2", "insufficient_funds")

HISTORIES: dict[str, tuple[tuple[Fact, ...], State]] = {
    "card": ((CAPTURED, PAID), State.PAID),
    "declined, then another card": ((DECLINE_1, CAPTURED, PAID), State.PAID),
    "declined twice, then paid": ((DECLINE_1, DECLINE_2, CAPTURED, PAID), State.PAID),
    "declined and abandoned": ((DECLINE_1, Abandoned(DECLINE_1.key)), State.DECLINED),
    "declined, abandoned, then late money": ((DECLINE_1, Abandoned(DECLINE_1.key), CAPTURED, PAID), State.PAID),
    "expired": ((EXPIRED,), State.EXPIRED),
    "declined, then expired": ((DECLINE_1, EXPIRED), State.EXPIRED),
    "expired, then late money": ((EXPIRED, CAPTURED, PAID), State.PAID),
    "debit that arrives": ((UNPAID, CAPTURED, PAID), State.PAID),
    "debit that fails": ((UNPAID, DECLINE_1, FAILED), State.SETTLEMENT_FAILED),
    "debit whose failure is found by asking": (
        (UNPAID, DECLINE_1, IntentFetched("pi_1", "requires_payment_method")),
        State.SETTLEMENT_FAILED,
    ),
    "canceled before any session": ((OrderEnded("out_of_stock"),), State.CANCELED),
    "three declines, then expired": (
        (DECLINE_1, DECLINE_2, IntentDeclined("pi_1", "ch_3"), EXPIRED),
        State.EXPIRED,
    ),
}


def arrive(order: Order, facts: tuple[Fact, ...]) -> tuple[State, list[str], list[State]]:
    """Fold facts one by one as the shell does: (end state, everything said, states passed through)."""
    known: dict[str, Fact] = {}
    said: list[str] = []
    states = [State.PENDING]
    for fact in facts:
        if fact.key in known:
            continue
        known[fact.key] = fact
        seen = rules.view(order, known.values(), settled_intent=rules.settled_intent_of(said))
        said += [key for key in rules.required(seen) if key not in said]
        states.append(seen.state)
    return states[-1], said, states


@pytest.mark.parametrize("name", HISTORIES)
def test_every_permutation_with_duplicates_ends_alike(name: str) -> None:
    facts, end = HISTORIES[name]
    order = an_order()
    paid = end is State.PAID

    for once in itertools.permutations(facts):
        for doubled in (once, once + once, tuple(f for fact in once for f in (fact, fact)), once + once[::-1]):
            state, said, states = arrive(order, doubled)

            assert state is end
            assert [key.startswith(Say.PAID) for key in said].count(True) == int(paid)
            assert len(said) == len(set(said))
            ranks = [STRENGTH.index(passed) for passed in states]
            assert ranks == sorted(ranks), "a state is never weaker than the one before"


def test_all_interleavings_of_one_purchase_with_each_event_doubled() -> None:
    facts: tuple[Fact, ...] = (DECLINE_1, CAPTURED, PAID, UNPAID)

    ends = {
        (state, tuple(key for key in said if key.startswith(Say.PAID)))
        for mixed in set(itertools.permutations(facts + facts))
        for state, said, _ in [arrive(an_order(), mixed)]
    }

    assert ends == {(State.PAID, ("paid:pi_1",))}


def test_nothing_said_is_ever_taken_back_by_what_follows() -> None:
    for facts, _ in HISTORIES.values():
        for once in itertools.permutations(facts):
            told: list[str] = []
            for end in range(len(once) + 1):
                _, said, _ = arrive(an_order(), once[:end])
                assert said[: len(told)] == told
                told = said


@pytest.mark.parametrize("first_paid", [PAID, a_session("cs_2", payment_intent="pi_2")])
def test_of_two_payments_one_settles_and_the_other_goes_back_once(first_paid: SessionSeen) -> None:
    second = a_session("cs_2", payment_intent="pi_2")
    facts: tuple[Fact, ...] = (PAID, CAPTURED, second, IntentSucceeded("pi_2", 3600, "usd"))

    for mixed in itertools.permutations(facts):
        state, said, _ = arrive(an_order(), mixed)

        paid = [key.removeprefix(Say.PAID) for key in said if key.startswith(Say.PAID)]
        refunds = [key for key in said if key.startswith(Say.REFUND)]
        assert state is State.PAID
        assert len(paid) == 1
        (other,) = {"pi_1", "pi_2"} - set(paid)
        assert refunds == [f"{Say.REFUND}{other}:surplus_payment"]


def test_a_lone_capture_asks_for_its_session_and_says_nothing_of_money() -> None:
    state, said, _ = arrive(an_order(), (CAPTURED,))

    assert state is State.PENDING
    assert said == [f"{Say.FETCH_SESSION}pi_1"]


def test_an_unpaid_complete_session_is_not_paid() -> None:
    assert arrive(an_order(), (UNPAID,))[0] is State.PROCESSING


def test_money_on_a_canceled_order_goes_back_and_a_paid_order_cannot_be_canceled() -> None:
    facts: tuple[Fact, ...] = (OrderEnded("buyer"), CAPTURED, PAID)
    for mixed in itertools.permutations(facts):
        state, said, _ = arrive(an_order(), mixed)

        assert state is State.PAID
        canceled_first = mixed.index(OrderEnded("buyer")) < mixed.index(PAID)
        assert (f"{Say.REFUND}pi_1:canceled_order" in said) is canceled_first
        assert ("paid:pi_1" in said) is not canceled_first


@pytest.mark.parametrize(
    "paid",
    [
        a_session(subtotal_minor=3500, total_minor=3500),
        a_session(currency="eur"),
        a_session(discount_minor=100, total_minor=3500),
    ],
)
def test_what_was_not_asked_for_is_held_and_decided_by_a_person_or_the_deadline(paid: SessionSeen) -> None:
    _, held, _ = arrive(an_order(), (paid,))
    _, released, _ = arrive(an_order(), (paid, HoldEnded(released=True)))
    _, lapsed, _ = arrive(an_order(), (paid, HoldEnded(released=False)))

    assert held == [Say.HELD]
    assert released == [Say.HELD, Say.UNHELD, "paid:pi_1"]
    assert lapsed == [Say.HELD, Say.CANCELED, f"{Say.REFUND}pi_1:amount_mismatch"]


def test_tax_and_shipping_are_adopted_from_the_session() -> None:
    paid = a_session(tax_minor=300, shipping_minor=500, total_minor=4400)

    seen = rules.view(an_order(), [paid], settled_intent=None)

    assert seen.mismatch is None
