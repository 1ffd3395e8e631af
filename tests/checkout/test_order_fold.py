"""Every order of arrival of an order's facts ends alike, says its end once, and is safe after every fact of it."""

import itertools
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from checkout.decide import order as rules
from checkout.decide import saying
from checkout.decide.order import STRENGTH, Say, View
from checkout.decide.recovering import Links
from checkout.model.carts import PricedLine
from checkout.model.facts import (
    Abandoned,
    EndAsked,
    Fact,
    HoldEnded,
    IntentDeclined,
    IntentFetched,
    IntentSucceeded,
    OrderEnded,
    SessionSeen,
)
from checkout.model.orders import Order, State
from checkout.store.orders import read_as
from payments_shared.contracts.checkout import OrderPaid
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
MISMATCHED = a_session(subtotal_minor=3500, total_minor=3500)
SECOND = a_session("cs_2", payment_intent="pi_2")
SECOND_CAPTURED = IntentSucceeded("pi_2", 3600, "usd")
OUT_OF_STOCK = OrderEnded("out_of_stock")
UNWANTED = EndAsked("buyer")
SUPERSEDED = OrderEnded("superseded")
RELEASED = HoldEnded(released=True)
LAPSED = HoldEnded(released=False)

HISTORIES: dict[str, tuple[tuple[Fact, ...], State]] = {
    "card": ((CAPTURED, PAID), State.PAID),
    "declined, then another card": ((DECLINE_1, CAPTURED, PAID), State.PAID),
    "declined twice, then paid": ((DECLINE_1, DECLINE_2, CAPTURED, PAID), State.PAID),
    "declined": ((DECLINE_1,), State.DECLINED),
    "declined and abandoned": ((DECLINE_1, Abandoned(DECLINE_1.key)), State.DECLINED),
    "declined, abandoned, and declined again": ((DECLINE_1, Abandoned(DECLINE_1.key), DECLINE_2), State.DECLINED),
    "declined, abandoned, then late money": ((DECLINE_1, Abandoned(DECLINE_1.key), CAPTURED, PAID), State.PAID),
    "expired": ((EXPIRED,), State.EXPIRED),
    "declined, then expired": ((DECLINE_1, EXPIRED), State.EXPIRED),
    "expired, then late money": ((EXPIRED, CAPTURED, PAID), State.PAID),
    "debit on its way": ((UNPAID,), State.PROCESSING),
    "declined, then a debit on its way": ((DECLINE_1, UNPAID), State.PROCESSING),
    "debit that arrives": ((UNPAID, CAPTURED, PAID), State.PAID),
    "debit that fails": ((UNPAID, DECLINE_1, FAILED), State.SETTLEMENT_FAILED),
    "debit whose failure is found by asking": (
        (UNPAID, DECLINE_1, IntentFetched("pi_1", "requires_payment_method")),
        State.SETTLEMENT_FAILED,
    ),
    "canceled before any session": ((OUT_OF_STOCK,), State.CANCELED),
    "canceled, and its session expires": ((OUT_OF_STOCK, EXPIRED), State.CANCELED),
    "canceled, then late money": ((OUT_OF_STOCK, CAPTURED, PAID), State.PAID),
    "canceled, then a debit that arrives": ((OUT_OF_STOCK, UNPAID, CAPTURED, PAID), State.PAID),
    "canceled, then a debit that fails": ((OUT_OF_STOCK, UNPAID, FAILED), State.CANCELED),
    "canceled, then money that does not match": ((OUT_OF_STOCK, MISMATCHED), State.PAID),
    "unwanted, and its session is closed": ((UNWANTED, EXPIRED), State.CANCELED),
    "unwanted, and canceled": ((UNWANTED, OUT_OF_STOCK), State.CANCELED),
    "unwanted, but paid before": ((UNWANTED, CAPTURED, PAID), State.PAID),
    "unwanted, closed, then late money": ((UNWANTED, EXPIRED, CAPTURED, PAID), State.PAID),
    "expired, and taken up again": ((EXPIRED, SUPERSEDED), State.CANCELED),
    "expired, taken up again, then late money": ((EXPIRED, SUPERSEDED, CAPTURED, PAID), State.PAID),
    "a debit that failed, and was taken up again": ((UNPAID, FAILED, SUPERSEDED), State.SETTLEMENT_FAILED),
    "three declines, then expired": (
        (DECLINE_1, DECLINE_2, IntentDeclined("pi_1", "ch_3"), EXPIRED),
        State.EXPIRED,
    ),
    "mismatch": ((MISMATCHED,), State.PAID),
    "mismatch that a person releases": ((DECLINE_1, MISMATCHED, RELEASED), State.PAID),
    "mismatch that nobody releases": ((UNPAID, MISMATCHED, LAPSED), State.PAID),
    "canceled, and a mismatch that nobody releases": ((OUT_OF_STOCK, MISMATCHED, LAPSED), State.PAID),
    "paid twice": ((CAPTURED, PAID, SECOND_CAPTURED, SECOND), State.PAID),
    "paid twice, once what was not asked for": ((MISMATCHED, SECOND_CAPTURED, SECOND, RELEASED), State.PAID),
    "paid twice after it was canceled": ((OUT_OF_STOCK, PAID, SECOND_CAPTURED, SECOND), State.PAID),
    "paid twice, one of them taken for nothing": ((MISMATCHED, SECOND_CAPTURED, SECOND, LAPSED), State.PAID),
}


@dataclass(frozen=True)
class Moment:
    """What is known after one fact, and everything said until then."""

    known: tuple[Fact, ...]
    seen: View
    said: tuple[str, ...]

    @property
    def rank(self) -> int:
        return STRENGTH.index(self.seen.state)


def arrive(order: Order, facts: tuple[Fact, ...]) -> list[Moment]:
    """Fold facts one by one as the shell does; the first moment is before any of them."""
    known: dict[str, Fact] = {}
    said: list[str] = []
    moments = [Moment((), rules.view(order, (), settled_intent=None), ())]
    for fact in facts:
        too_late = isinstance(fact, OrderEnded) and not rules.may_end(order)
        if fact.key in known or too_late:
            continue
        known[fact.key] = fact
        seen = rules.view(order, known.values(), settled_intent=rules.settled_intent_of(said))
        said += [key for key in rules.required(seen) if key not in said]
        intent = seen.settled.payment_intent if seen.settled else order.stripe_payment_intent
        order = replace(order, state=seen.state, stripe_payment_intent=intent)
        moments.append(Moment(tuple(known.values()), seen, tuple(said)))
    return moments


def end_of(order: Order, facts: tuple[Fact, ...]) -> tuple[State, list[str]]:
    """The end state, and everything said."""
    last = arrive(order, facts)[-1]
    return last.seen.state, list(last.said)


def kept(said: tuple[str, ...], kind: str) -> list[str]:
    """What follows the colon in the keys of a kind."""
    return [key.removeprefix(kind) for key in said if key.startswith(kind)]


def doublings(facts: tuple[Fact, ...]) -> tuple[tuple[Fact, ...], ...]:
    """Once, all again, each twice in a row, and all again backwards."""
    return facts, facts + facts, tuple(f for fact in facts for f in (fact, fact)), facts + facts[::-1]


# -- what is safe at every moment ------------------------------------------------------------------------------------

MEANT_BY: tuple[tuple[str, State], ...] = (
    (Say.DECLINED, State.DECLINED),
    (Say.ABANDONED, State.DECLINED),
    (Say.EXPIRED, State.EXPIRED),
    (Say.PROCESSING, State.PROCESSING),
    (Say.FINAL, State.SETTLEMENT_FAILED),
    (Say.PAID, State.PAID),
    (Say.HELD, State.PAID),
    (Say.UNHELD, State.PAID),
)
"""The state that a word tells the others of. `canceled` tells of two: of an end, and of a payment sent back."""


def ranks_told(said: tuple[str, ...]) -> list[int]:
    """How strong each word about the order's money is, in the order in which they were said."""
    told = []
    for key in said:
        meant = next((state for word, state in MEANT_BY if key.startswith(word)), None)
        if key == Say.CANCELED:
            meant = State.PAID if Say.HELD in said[: said.index(key)] else State.CANCELED
        told += [STRENGTH.index(meant)] if meant else []
    return told


def money_of(facts: tuple[Fact, ...]) -> dict[str, int]:
    """What each intent really took: the capture is the authority, else its paid session."""
    taken = {f.payment_intent: f.total_minor for f in facts if isinstance(f, SessionSeen) and f.paid}
    taken |= {f.payment_intent: f.amount_minor for f in facts if isinstance(f, IntentSucceeded)}
    return {intent: amount for intent, amount in taken.items() if intent is not None}


def assert_safe(order: Order, moments: list[Moment]) -> None:
    """Nothing is said that is not so, nothing twice, and nothing that takes back what was said."""
    for before, now in itertools.pairwise(moments):
        assert now.rank >= before.rank, "a state is never weaker than the one before"
        assert now.said[: len(before.said)] == before.said
        assert len(now.said) == len(set(now.said))
        told = ranks_told(now.said)
        assert told == sorted(told), "no word is weaker than one that was said before it"
        assert not told or told[-1] <= now.rank, "no word is stronger than what is known"
        assert_said_words_are_so(now)
        assert_paid_stays_paid(order, now)
        assert_refunds_are_due(before, now)


def assert_said_words_are_so(now: Moment) -> None:
    sessions = [fact for fact in now.known if isinstance(fact, SessionSeen)]
    keys = {fact.key for fact in now.known}
    lapsed = LAPSED in now.known and Say.HELD in now.said
    if Say.PROCESSING in now.said:
        assert any(session.status == "complete" for session in sessions)
    if Say.EXPIRED in now.said:
        assert any(session.status == "expired" for session in sessions)
    if Say.FINAL in now.said:
        assert any(s.failed for s in sessions) or any(isinstance(fact, IntentFetched) for fact in now.known)
    if Say.CANCELED in now.said:
        closed = UNWANTED in now.known and EXPIRED in now.known
        assert lapsed or closed or {OUT_OF_STOCK, SUPERSEDED} & set(now.known)
    if Say.HELD in now.said:
        assert MISMATCHED in now.known
    if Say.UNHELD in now.said:
        assert RELEASED in now.known
    assert set(kept(now.said, Say.DECLINED)) <= keys
    assert {Abandoned(decline).key for decline in kept(now.said, Say.ABANDONED)} <= keys
    asked_after = {IntentSucceeded(intent, 3600, "usd").key for intent in kept(now.said, Say.FETCH_SESSION)}
    assert asked_after | set(kept(now.said, Say.FETCH_INTENT)) <= keys


def assert_paid_stays_paid(order: Order, now: Moment) -> None:
    paid = kept(now.said, Say.PAID)
    assert len(paid) <= 1
    if not paid:
        return
    (session,) = [f for f in now.known if isinstance(f, SessionSeen) and f.paid and f.payment_intent == paid[0]]
    assert session.total_minor == order.total_minor or RELEASED in now.known
    assert now.seen.settled == session
    assert not now.seen.held
    assert not now.seen.dishonoured
    assert Say.CANCELED not in now.said
    until = now.said.index(Say.PAID + paid[0])
    after = [key for key in now.said[until + 1 :] if not key.startswith(Say.REFUND)]
    assert after == [], "once it was paid, only surplus money is spoken of"
    assert [Say.UNHELD in now.said[:until]] == [Say.HELD in now.said]


def assert_refunds_are_due(before: Moment, now: Moment) -> None:
    settled = now.seen.settled.payment_intent if now.seen.settled else None
    taken = money_of(now.known)
    owed: dict[str, int] = {}
    for refund in kept(now.said, Say.REFUND):
        intent, reason = refund.split(":")
        owed[intent] = owed.get(intent, 0) + now.seen.capture_of(intent).amount_minor
        assert owed[intent] <= taken.get(intent, 0), "no more goes back than was taken"
        if reason == "surplus_payment":
            assert intent != settled
        else:
            assert intent == settled
            assert now.seen.dishonoured
            assert Say.CANCELED in now.said
    if before.seen.dishonoured:
        assert now.seen.dishonoured, "what was sent back stays sent back"
    if before.seen.settled:
        assert now.seen.settled == before.seen.settled, "one payment settles, whatever follows"


# -- what is said of an end ------------------------------------------------------------------------------------------


def assert_each_state_is_announced_once(moments: list[Moment]) -> None:
    """A state is announced once when it is passed, and not at all when stronger news came first.

    So an order that ends paid may or may not have said `declined`, `expired` or `processing`; that is for the order of
    arrival to say. Its own end it says once, whatever that order was.
    """
    last = moments[-1]
    passed = {moment.seen.state for moment in moments}
    canceled = State.CANCELED in passed
    lapsed = last.seen.mismatch is not None and LAPSED in last.known and not canceled
    declined = [moment for moment in moments if moment.seen.state is State.DECLINED]
    known = declined[-1].known if declined else ()
    counted = {word: last.said.count(word) for word in (Say.EXPIRED, Say.CANCELED, Say.PROCESSING, Say.FINAL)}
    assert counted == {
        Say.EXPIRED: int(State.EXPIRED in passed),
        Say.CANCELED: int(canceled or lapsed),
        Say.PROCESSING: int(State.PROCESSING in passed and not canceled),
        Say.FINAL: int(State.SETTLEMENT_FAILED in passed),
    }
    assert sorted(kept(last.said, Say.DECLINED)) == sorted(f.key for f in known if isinstance(f, IntentDeclined))
    assert kept(last.said, Say.ABANDONED) == [f.decline for f in known if isinstance(f, Abandoned)]
    assert_payment_is_announced_once(last, canceled=canceled, lapsed=lapsed)


def assert_payment_is_announced_once(last: Moment, *, canceled: bool, lapsed: bool) -> None:
    is_paid = last.seen.state is State.PAID
    held = is_paid and last.seen.mismatch is not None and not canceled
    settled = last.seen.settled.payment_intent if last.seen.settled else None
    open_hold = held and RELEASED not in last.known and not lapsed
    assert kept(last.said, Say.PAID) == ([settled] if is_paid and not (canceled or lapsed or open_hold) else [])
    assert (last.said.count(Say.HELD), last.said.count(Say.UNHELD)) == (held, held and RELEASED in last.known)
    back = {f"{settled}:canceled_order"} if is_paid and canceled else set()
    back |= {f"{settled}:amount_mismatch"} if lapsed else set()
    back |= {f"{intent}:surplus_payment" for intent in money_of(last.known) if is_paid and intent != settled}
    assert set(kept(last.said, Say.REFUND)) == back


@pytest.mark.parametrize("name", HISTORIES)
def test_every_permutation_with_duplicates_ends_alike_and_says_each_state_once(name: str) -> None:
    facts, end = HISTORIES[name]

    for once in itertools.permutations(facts):
        for doubled in doublings(once):
            moments = arrive(an_order(), doubled)

            if moments[-1].seen.canceled is None and end is State.CANCELED:
                assert moments[-1].seen.state is State.SETTLEMENT_FAILED, "who wants to end it now comes too late"
            elif State.CANCELED in (moment.seen.state for moment in moments) and end is not State.PAID:
                assert moments[-1].seen.state is State.CANCELED, "what is canceled stays so, whatever fails"
            else:
                assert moments[-1].seen.state is end
            assert_each_state_is_announced_once(moments)


@pytest.mark.parametrize("name", HISTORIES)
def test_every_prefix_of_every_permutation_is_safe(name: str) -> None:
    facts, _ = HISTORIES[name]

    for once in itertools.permutations(facts):
        for doubled in doublings(once):
            assert_safe(an_order(), arrive(an_order(), doubled))


@pytest.mark.parametrize("name", HISTORIES)
def test_the_same_facts_read_in_another_order_ask_for_nothing_more(name: str) -> None:
    facts, _ = HISTORIES[name]

    for once in itertools.permutations(facts):
        for moment in arrive(an_order(), once)[1:]:
            view = rules.view(
                an_order(state=moment.seen.state, stripe_payment_intent=settled_by(moment)),
                moment.known[::-1],
                settled_intent=rules.settled_intent_of(moment.said),
            )

            assert view.state is moment.seen.state
            assert set(rules.required(view)) <= set(moment.said), "nothing more is due from the same facts"


def settled_by(moment: Moment) -> str | None:
    return moment.seen.settled.payment_intent if moment.seen.settled else None


def test_all_interleavings_of_one_purchase_with_each_event_doubled() -> None:
    facts: tuple[Fact, ...] = (DECLINE_1, CAPTURED, PAID, UNPAID)

    for mixed in set(itertools.permutations(facts + facts)):
        moments = arrive(an_order(), mixed)

        assert moments[-1].seen.state is State.PAID
        assert kept(moments[-1].said, Say.PAID) == ["pi_1"]
        assert_each_state_is_announced_once(moments)
        assert_safe(an_order(), moments)


@pytest.mark.parametrize("own", ["cs_1", "cs_2"])
def test_of_two_payments_one_settles_and_the_other_goes_back_once(own: str) -> None:
    facts: tuple[Fact, ...] = (PAID, CAPTURED, SECOND, SECOND_CAPTURED)

    for mixed in itertools.permutations(facts):
        state, said = end_of(an_order(stripe_session_id=own), mixed)

        paid = kept(tuple(said), Say.PAID)
        refunds = [key for key in said if key.startswith(Say.REFUND)]
        first = "pi_1" if mixed.index(PAID) < mixed.index(SECOND) else "pi_2"
        (other,) = {"pi_1", "pi_2"} - {first}
        assert state is State.PAID
        assert paid == [first]
        assert refunds == [f"{Say.REFUND}{other}:surplus_payment"]


@pytest.mark.parametrize("reason", ["held", "canceled"])
def test_the_payment_that_was_spoken_of_settles_although_a_better_one_follows(reason: str) -> None:
    odd = a_session("cs_2", payment_intent="pi_2", subtotal_minor=3500, total_minor=3500)
    before: tuple[Fact, ...] = () if reason == "held" else (OUT_OF_STOCK,)

    _, said = end_of(an_order(), (*before, odd, PAID))

    spoken = [Say.HELD] if reason == "held" else [Say.CANCELED, f"{Say.REFUND}pi_2:canceled_order"]
    assert said == [*spoken, f"{Say.REFUND}pi_1:surplus_payment"]


def test_a_surplus_goes_back_as_it_was_captured_and_the_settled_payment_as_its_session_says() -> None:
    part = IntentSucceeded("pi_2", 3000, "usd")

    surplus = arrive(an_order(), (PAID, part))[-1].seen
    lapsed = arrive(an_order(), (MISMATCHED, LAPSED))[-1].seen

    assert surplus.capture_of("pi_2") == rules.Capture("pi_2", 3000, "usd")
    assert lapsed.capture_of("pi_1") == rules.Capture("pi_1", 3500, "usd")


def test_an_order_whose_money_is_on_its_way_or_here_can_no_longer_be_ended() -> None:
    assert {state for state in State if rules.may_end(an_order(state=state))} == {
        State.PENDING,
        State.DECLINED,
        State.EXPIRED,
        State.CANCELED,
    }


def test_an_end_that_is_known_after_order_paid_was_said_dishonours_nothing() -> None:
    seen = rules.view(an_order(), (OUT_OF_STOCK, PAID), settled_intent="pi_1")

    assert seen.canceled is None
    assert not seen.dishonoured


def test_money_that_does_not_match_is_not_held_for_a_person_when_it_goes_back_anyway() -> None:
    moments = arrive(an_order(), (OUT_OF_STOCK, MISMATCHED))

    assert not moments[-1].seen.held
    assert moments[-1].said == (Say.CANCELED, f"{Say.REFUND}pi_1:canceled_order")


def test_a_lone_capture_asks_for_its_session_and_says_nothing_of_money() -> None:
    state, said = end_of(an_order(), (CAPTURED,))

    assert state is State.PENDING
    assert said == [f"{Say.FETCH_SESSION}pi_1"]


def test_an_unpaid_complete_session_is_not_paid() -> None:
    assert end_of(an_order(), (UNPAID,))[0] is State.PROCESSING


def test_money_on_a_canceled_order_goes_back_and_a_paid_order_cannot_be_canceled() -> None:
    facts: tuple[Fact, ...] = (OrderEnded("buyer"), CAPTURED, PAID)
    for mixed in itertools.permutations(facts):
        state, said = end_of(an_order(), mixed)

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
    _, held = end_of(an_order(), (paid,))
    _, released = end_of(an_order(), (paid, HoldEnded(released=True)))
    _, lapsed = end_of(an_order(), (paid, HoldEnded(released=False)))

    assert held == [Say.HELD]
    assert released == [Say.HELD, Say.UNHELD, "paid:pi_1"]
    assert lapsed == [Say.HELD, Say.CANCELED, f"{Say.REFUND}pi_1:amount_mismatch"]


@pytest.mark.parametrize(
    ("paid", "told"),
    [
        (a_session(subtotal_minor=3000, total_minor=3000), (3600, 600, 0, 0, 3000)),
        (a_session(subtotal_minor=3500, total_minor=3500), (4100, 600, 0, 0, 3500)),
        (a_session(discount_minor=600, total_minor=3000, currency="eur"), (3600, 600, 0, 0, 3000)),
        (a_session(tax_minor=100, shipping_minor=50, total_minor=3400), (3850, 600, 100, 50, 3400)),
        (a_session(tax_minor=100, shipping_minor=50, total_minor=120), (600, 600, 70, 50, 120)),
        (a_session(discount_minor=600, tax_minor=100, shipping_minor=50, total_minor=3150), (3600, 600, 100, 50, 3150)),
    ],
)
def test_what_a_person_lets_pass_is_told_as_it_was_paid(paid: SessionSeen, told: tuple[int, ...]) -> None:
    order = an_order(discount_minor=600, total_minor=3000)
    seen = rules.view(order, (paid, RELEASED), settled_intent=None)

    message = saying.message_for("paid:pi_1", order, seen, now=AT, hold_until=AT, links=Links(b"", 60))

    assert isinstance(message, OrderPaid)
    subtotal, discount, tax, shipping, total = told
    assert (message.subtotal_minor, message.discount_minor) == (subtotal, discount)
    assert (message.tax_minor, message.shipping_minor, message.total_minor) == (tax, shipping, total)
    assert subtotal - discount + tax + shipping == total == sum(one.amount_minor for one in message.payments)
    assert {message.currency} == {one.currency for one in message.payments} == {paid.currency}


def test_tax_and_shipping_are_adopted_from_the_session() -> None:
    paid = a_session(tax_minor=300, shipping_minor=500, total_minor=4400)

    seen = rules.view(an_order(), [paid], settled_intent=None)

    assert seen.mismatch is None


@pytest.mark.parametrize(
    "kept",
    [
        PricedLine("MUG", "Mug", 2, 1800),
        OrderEnded("canceled"),
        IntentDeclined("pi_1", "ch_1", "generic_decline", None),
    ],
)
def test_what_the_next_release_keeps_besides_is_read_by_this_one(kept: object) -> None:
    stored = asdict(kept) | {"not_known_yet": {"some": 1}}  # type: ignore[call-overload] # all are dataclasses

    assert read_as(type(kept), stored) == kept
