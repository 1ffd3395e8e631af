"""Which requests are suspicious, and that few numbers accuse nobody."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from payments_shared.ids import new_id
from refunds.decide import asking, ruling
from refunds.decide.asking import Asked, Known
from refunds.decide.marking import mark
from refunds.decide.scoring import Signal, suspect
from refunds.model.bills import Amount, Everything, Given, Pieces, Returned, Wish
from refunds.model.patterns import Buyer, Operator, Patterns, Rate, Suspicion
from refunds.model.refunds import Order, Payment, State
from refunds.model.requests import Destination, Person
from refunds.model.rules import Rules, Standing
from tests.refunds.test_shares import a_bill

AT = datetime(2026, 1, 1, tzinfo=UTC)
SHOP = Rate(refunded=50, orders=1000)
ALL_OF_IT = Everything()
SAM = Person("sam", "sam@shop.example")
BILL = a_bill((1, 1000), (1, 500))
ORDER = Order(new_id(), {"email": "ada@example.com"}, paid=True, shortfall=False, bill=BILL, account="ada")
HABIT = Buyer(Rate(refunded=3, orders=4))
USUAL = {"SKU-0": Rate(refunded=10, orders=200), "SKU-1": Rate(refunded=10, orders=200)}
BAD = {"SKU-0": Rate(refunded=5, orders=20), "SKU-1": Rate(refunded=10, orders=200)}


def found(
    patterns: Patterns, *, wish: Wish = ALL_OF_IT, reason: str = "goodwill", requester: Person = SAM
) -> Suspicion:
    """Of an order of a shop with many orders, where the patterns name no other."""
    shop = patterns.shop if patterns.shop.orders else SHOP
    return suspect(wish, reason, requester, ORDER, replace(patterns, shop=shop))


def signals(suspicion: Suspicion) -> dict[str, int]:
    return {reason.signal: reason.points for reason in suspicion.reasons}


def test_who_is_not_known_is_not_suspicious() -> None:
    assert found(Patterns()) == Suspicion(0, ())
    assert found(Patterns(products=USUAL)) == Suspicion(0, ())


@pytest.mark.parametrize(
    ("patterns", "signal", "points"),
    [
        (Patterns(buyer=HABIT), Signal.CUSTOMER_REFUND_RATE, 30),
        (Patterns(buyer=Buyer(Rate(refunded=5, orders=6))), Signal.CUSTOMER_REFUND_RATE, 40),
        (Patterns(buyer=Buyer(day=3)), Signal.CUSTOMER_VELOCITY, 15),
        (Patterns(buyer=Buyer(month=6)), Signal.CUSTOMER_VELOCITY, 15),
        (Patterns(operator=Operator(month=100, peers=4, peers_month=120)), Signal.OPERATOR_VELOCITY, 20),
        (Patterns(operator=Operator(day=20, month=20, peers=4, peers_month=400)), Signal.OPERATOR_VELOCITY, 20),
        (Patterns(buyer=Buyer(quarter=3, by_operator=3)), Signal.OPERATOR_REPEATS_CUSTOMER, 15),
        (Patterns(buyer=Buyer(quarter=9, by_operator=5)), Signal.OPERATOR_REPEATS_CUSTOMER, 25),
        (Patterns(card_buyers=3), Signal.SHARED_CARD, 25),
        (Patterns(card_buyers=6), Signal.SHARED_CARD, 40),
        (Patterns(delivered_at=AT), Signal.REFUND_AFTER_DELIVERY, 10),
        (Patterns(early_fraud_warning=True), Signal.EARLY_FRAUD_WARNING, 60),
        (
            Patterns(products=dict.fromkeys(("SKU-0", "SKU-1"), Rate(refunded=1, orders=200))),
            Signal.PRODUCT_SELDOM_REFUNDED,
            10,
        ),
    ],
)
def test_each_signal_has_its_points_and_its_numbers(patterns: Patterns, signal: Signal, points: int) -> None:
    suspicion = found(patterns)

    assert signals(suspicion) == {signal: points}
    assert suspicion.score == points
    (reason,) = suspicion.reasons
    assert all(type(number) is int for number in reason.detail.values())


@pytest.mark.parametrize(
    "patterns",
    [
        Patterns(buyer=Buyer(Rate(refunded=2, orders=2))),
        Patterns(buyer=Buyer(Rate(refunded=3, orders=3))),
        Patterns(buyer=Buyer(Rate(refunded=3, orders=7))),
        Patterns(buyer=HABIT, shop=Rate(refunded=1, orders=99)),
        Patterns(buyer=HABIT, shop=Rate(refunded=300, orders=1000)),
        Patterns(buyer=Buyer(day=2, month=5, quarter=5, by_operator=2)),
        Patterns(operator=Operator(month=1000, peers=2, peers_month=2)),
        Patterns(operator=Operator(day=14, month=29, peers=10, peers_month=10)),
        Patterns(operator=Operator(day=14, month=300, peers=4, peers_month=400)),
        Patterns(card_buyers=2),
        Patterns(products={"SKU-0": Rate(refunded=0, orders=99), "SKU-1": Rate(refunded=0, orders=99)}),
        Patterns(products={"SKU-0": Rate(refunded=0, orders=500)}),
    ],
)
def test_small_numbers_and_usual_ones_accuse_nobody(patterns: Patterns) -> None:
    assert found(patterns) == Suspicion(0, ())


def test_a_product_that_everybody_gives_back_explains_a_refund() -> None:
    patterns = Patterns(buyer=HABIT, products=BAD)

    whole = found(patterns)
    of_it = found(patterns, wish=Pieces((Returned(0, 1, restock=True),)))
    of_another = found(patterns, wish=Pieces((Returned(1, 1, restock=True),)))
    alone = found(Patterns(products=BAD))

    assert [one.score for one in (whole, of_it, of_another, alone)] == [10, 10, 30, 0]
    assert signals(whole) == {Signal.CUSTOMER_REFUND_RATE: 30, Signal.PRODUCT_REFUND_RATE: -20}
    assert signals(alone) == {Signal.PRODUCT_REFUND_RATE: 0}


@pytest.mark.parametrize(
    ("patterns", "explained"),
    [
        (Patterns(buyer=HABIT), 20),
        (Patterns(buyer=Buyer(day=3)), 15),
        (Patterns(operator=Operator(month=100, peers=4, peers_month=120)), 20),
        (Patterns(delivered_at=AT), 10),
        (Patterns(buyer=Buyer(day=3), delivered_at=AT), 20),
        (Patterns(buyer=Buyer(quarter=9, by_operator=5)), 0),
        (Patterns(card_buyers=6), 0),
        (Patterns(early_fraud_warning=True), 0),
        (Patterns(early_fraud_warning=True, delivered_at=AT), 10),
    ],
)
def test_it_explains_that_much_is_refunded_and_neither_for_whom_nor_by_whose_card(
    patterns: Patterns, explained: int
) -> None:
    for requester in (SAM, Person("ada")):
        plain, of_it = found(patterns, requester=requester), found(replace(patterns, products=BAD), requester=requester)

        assert signals(of_it) == {**signals(plain), Signal.PRODUCT_REFUND_RATE: -explained}
        assert of_it.score == min(sum(reason.points for reason in plain.reasons) - explained, 100)


@pytest.mark.parametrize(
    ("reason", "points"),
    [("not_received", 30), ("goodwill", 10), ("duplicate", 10), ("returned", 0), ("damaged", 0), ("wrong_item", 0)],
)
def test_what_was_delivered_comes_back_or_is_odd(reason: str, points: int) -> None:
    assert found(Patterns(delivered_at=AT), reason=reason).score == points
    assert found(Patterns(), reason=reason).score == 0


@pytest.mark.parametrize(
    ("person", "points"),
    [
        (Person("ada", None), 60),
        (Person("A\u200bDA", None), 60),
        (Person("support-1", "Ada+shop@example.com"), 60),
        (Person("support-1", "grace@example.com"), 0),
    ],
)
def test_nobody_refunds_his_own_order_unseen(person: Person, points: int) -> None:
    assert found(Patterns(), requester=person).score == points


@pytest.mark.parametrize("second_person_score", [60, 1000])
@pytest.mark.parametrize("patterns", [Patterns(shop=SHOP), Patterns(products=BAD, shop=SHOP)], ids=["plain", "bad"])
@pytest.mark.parametrize("person", [Person("ada"), Person("A\u200bDA"), Person("support-1", "Ada+shop@example.com")])
def test_who_bought_waits_for_a_second_person_whatever_explains_it_and_whatever_the_rules_say(
    person: Person, patterns: Patterns, second_person_score: int
) -> None:
    limits = {"usd": 500}
    rules = Rules(
        per_refund=limits,
        per_operator_day=limits,
        per_customer_month=limits,
        second_person_score=second_person_score,
    )
    payment = Payment("pi_1", ORDER.order_id, "usd", BILL.total_minor, settles=True)
    asked = Asked(ORDER.order_id, Amount(100), Destination.ORIGINAL, "goodwill", "", person)
    known = Known(ORDER, [payment], {}, {}, Given(), rules, AT, patterns)

    request, (refund,) = asking.requested(new_id(), asked, known, Standing())

    assert request.needs == (("own_order", "score") if second_person_score == 60 else ("own_order",))
    assert (request.score, request.decided_by) == (60, None)
    assert (refund.state, refund.approver) == (State.AWAITING_APPROVAL, None)


def test_a_score_stays_between_none_and_a_hundred() -> None:
    everything = Patterns(
        buyer=Buyer(Rate(refunded=50, orders=50), day=9, month=9, quarter=9, by_operator=9),
        operator=Operator(day=100, month=1000, peers=9, peers_month=90),
        card_buyers=9,
        delivered_at=AT,
        early_fraud_warning=True,
    )

    assert found(everything, reason="not_received").score == 100


def test_from_a_score_on_a_request_waits_for_a_second_person_and_keeps_why() -> None:
    payment = Payment("pi_1", ORDER.order_id, "usd", BILL.total_minor, settles=True)
    asked = Asked(ORDER.order_id, Amount(100), Destination.ORIGINAL, "goodwill", "", SAM)
    rules = Rules(
        per_refund={"usd": 500}, per_operator_day={"usd": 500}, per_customer_month={"usd": 500}, second_person_score=60
    )
    known = Known(ORDER, [payment], {}, {}, Given(), rules, AT)
    below = Patterns(buyer=Buyer(Rate(4, 4), day=3, quarter=5, by_operator=5), shop=SHOP, delivered_at=None)
    above = replace(below, card_buyers=3)

    for patterns, waits in ((Patterns(), False), (replace(below, shop=Rate()), False), (above, True)):
        request, (refund,) = asking.requested(new_id(), asked, replace(known, patterns=patterns), Standing())

        assert refund.state is (State.AWAITING_APPROVAL if waits else State.APPROVED)
        assert request.needs == (("score",) if waits else ())
        assert (request.score >= 60) is waits
        assert sum(reason.points for reason in request.score_reasons) == request.score
    assert ruling.second_person(1, "usd", rules, Standing(), score=59) == []


def test_a_card_is_known_again_and_nothing_else_is_told_of_it() -> None:
    one, again = mark(b"secret", "fp_1"), mark(b"secret", "fp_1")

    assert one == again
    assert "fp_1" not in one
    assert len({one, mark(b"another", "fp_1"), mark(b"secret", "fp_2")}) == 3
