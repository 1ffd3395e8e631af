"""When goods leave the house, without any door."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment import decide
from fulfillment.decide import ARROWS, Deliver, Fact, Held, Movement, Return, Ship, StockCommitted, Unheld
from fulfillment.model import IllegalStep, Line, Order, Shipment, ShipmentHeld, ShipmentState, Verdict
from payments_shared.contracts.fulfillment import (
    ShipmentCanceled,
    ShipmentCreated,
    ShipmentDelivered,
    ShipmentReturned,
    ShipmentShipped,
)
from payments_shared.contracts.message import Message
from tests.fulfillment.builders import HELD, LINES, NOON, ORDER, PAID, TOTAL, UNHELD, a_dispute, a_refund

SHIP = Ship("DHL", "JD01")
COMMITTED = StockCommitted()
MAIN = decide.shipment_id(ORDER)
CAP, MUG, MUGS = (Line("CAP", 1),), (Line("MUG", 1),), (Line("MUG", 2),)


@dataclass
class House:
    """Applies decisions, and checks at each that an order has one live shipment at most and no line twice."""

    order: Order = field(default_factory=lambda: Order(ORDER))
    shipments: dict[UUID, Shipment] = field(default_factory=dict)
    said: list[Message] = field(default_factory=list)

    def learn(self, fact: Fact) -> None:
        self.order = decide.fold(self.order, fact)
        self._apply(decide.settle(self.order, list(self.shipments.values())))

    def move(self, movement: Movement) -> None:
        shipments = tuple(self.shipments.values())
        self._apply(decide.move(self.order, self.shipments[MAIN], movement, shipments=shipments))

    def _apply(self, decision: decide.Decision) -> None:
        for shipment in decision.shipments:
            known = self.shipments.get(shipment.id)
            assert shipment.version == (known.version + 1 if known else 1)
            self.shipments[shipment.id] = shipment
        self.said += decision.announce
        self.order = replace(self.order, digital_delivered=self.order.digital_delivered or decision.digital_delivered)
        live = [s for s in self.shipments.values() if s.state is not ShipmentState.CANCELED]
        assert len(live) <= 1
        goods = self.order.goods
        bought = goods.lines + goods.digital if goods else ()
        assert not self.units(*self.shipments.values()) - Counter({line.sku: line.quantity for line in bought})
        assert decide.settle(self.order, list(self.shipments.values())) == decide.Decision()

    def units(self, *shipments: Shipment) -> Counter[str]:
        return sum((Counter({line.sku: line.quantity for line in s.lines}) for s in shipments), Counter())

    def state(self) -> ShipmentState | None:
        return self.shipments[MAIN].state if MAIN in self.shipments else None

    def unsellable(self) -> Counter[str]:
        back = [m for m in self.said if isinstance(m, ShipmentCanceled | ShipmentReturned)]
        return sum((Counter({line.sku: line.quantity for line in m.unsellable}) for m in back), Counter())

    def restocked(self) -> Counter[str]:
        back = [m for m in self.said if isinstance(m, ShipmentCanceled | ShipmentReturned)]
        assert len({m.shipment_id for m in back}) == len(back)
        return sum((Counter({line.sku: line.quantity for line in m.lines}) for m in back), Counter())


def a_house(*facts: Fact) -> House:
    house = House()
    for fact in facts:
        house.learn(fact)
    return house


def test_every_square_is_answered_as_written_here() -> None:
    created, shipped, delivered, returned, canceled = (
        ShipmentState.CREATED,
        ShipmentState.SHIPPED,
        ShipmentState.DELIVERED,
        ShipmentState.RETURNED,
        ShipmentState.CANCELED,
    )

    assert {state: dict(arrows) for state, arrows in ARROWS.items()} == {
        created: {Ship: shipped},
        shipped: {Ship: shipped, Deliver: delivered, Return: returned},
        delivered: {Deliver: delivered, Return: returned},
        returned: {Return: returned},
        canceled: {},
    }


ALL = Counter({"CAP": 1, "MUG": 2})
HISTORIES: dict[str, tuple[tuple[Fact, ...], ShipmentState | None, Counter[str]]] = {
    "paid and in stock": ((PAID, COMMITTED), ShipmentState.CREATED, Counter()),
    "paid, stock not yet": ((PAID,), None, Counter()),
    "stock before the payment is known": ((COMMITTED,), None, Counter()),
    "held and let go": ((PAID, COMMITTED, HELD, UNHELD), ShipmentState.CREATED, Counter()),
    "refunded": (
        (PAID, COMMITTED, a_refund("approved"), a_refund("succeeded")),
        ShipmentState.CANCELED,
        ALL,
    ),
    "refunded for no stock": (
        (PAID, a_refund("approved", reason="shortfall"), a_refund("succeeded", reason="shortfall")),
        None,
        Counter(),
    ),
    "refunded in two halves": (
        (
            PAID,
            COMMITTED,
            a_refund("succeeded", "1", amount_minor=2700),
            a_refund("approved", "2", amount_minor=2700),
            a_refund("succeeded", "2", amount_minor=2700),
        ),
        ShipmentState.CANCELED,
        ALL,
    ),
    "refunded, half of it to store credit that had paid": (
        (
            PAID,
            COMMITTED,
            a_refund("succeeded", "1", amount_minor=2700),
            a_refund("succeeded", "2", amount_minor=2700, payment_intent=""),
        ),
        ShipmentState.CANCELED,
        ALL,
    ),
    "a refund refused": (
        (PAID, COMMITTED, a_refund("approved"), a_refund("rejected")),
        ShipmentState.CREATED,
        Counter(),
    ),
    "a refund withdrawn": (
        (PAID, COMMITTED, a_refund("approved"), a_refund("canceled")),
        ShipmentState.CREATED,
        Counter(),
    ),
    "a refund that failed": (
        (PAID, COMMITTED, a_refund("approved"), a_refund("failed")),
        ShipmentState.CREATED,
        Counter(),
    ),
    "money that came twice": (
        (
            PAID,
            COMMITTED,
            a_refund("approved", reason="surplus_payment", payment_intent="pi_twin"),
            a_refund("succeeded", reason="surplus_payment", payment_intent="pi_twin"),
        ),
        ShipmentState.CREATED,
        Counter(),
    ),
    "a payment of nobody's given back": (
        (
            PAID,
            COMMITTED,
            a_refund("approved", payment_intent="pi_twin"),
            a_refund("succeeded", payment_intent="pi_twin"),
        ),
        ShipmentState.CREATED,
        Counter(),
    ),
    "an amount given back for goodwill": (
        (PAID, COMMITTED, a_refund("approved", amount_minor=100), a_refund("succeeded", amount_minor=100)),
        ShipmentState.CREATED,
        Counter(),
    ),
    "one line refunded": (
        (
            PAID,
            COMMITTED,
            a_refund("approved", amount_minor=1800, lines=MUG),
            a_refund("succeeded", amount_minor=1800, lines=MUG),
        ),
        ShipmentState.CREATED,
        Counter({"MUG": 1}),
    ),
    "an inquiry that was closed": (
        (PAID, COMMITTED, a_dispute("opened"), a_dispute("won", 2)),
        ShipmentState.CREATED,
        Counter(),
    ),
    "a dispute that was won": (
        (PAID, COMMITTED, a_dispute("opened"), a_dispute("opened", 2), a_dispute("won", 4)),
        ShipmentState.CREATED,
        Counter(),
    ),
    "one of two disputes won": (
        (PAID, COMMITTED, a_dispute("won", 2), a_dispute("lost", 2, "2")),
        ShipmentState.CANCELED,
        ALL,
    ),
    "a dispute of money that came twice": (
        (PAID, COMMITTED, a_dispute("lost", payment_intent="pi_twin")),
        ShipmentState.CREATED,
        Counter(),
    ),
    "a dispute that was lost": (
        (PAID, a_dispute("opened"), COMMITTED, a_dispute("lost", 2)),
        ShipmentState.CANCELED,
        ALL,
    ),
    "every line refunded, one by one": (
        (
            PAID,
            COMMITTED,
            a_refund("approved", "1", amount_minor=1700, lines=CAP),
            a_refund("succeeded", "1", amount_minor=1700, lines=CAP),
            a_refund("succeeded", "2", amount_minor=3600, lines=MUGS),
        ),
        ShipmentState.CANCELED,
        ALL,
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_every_order_and_repetition_of_a_history_ends_alike(name: str) -> None:
    facts, state, restocked = HISTORIES[name]

    for sequence in permutations((*facts, facts[-1])):
        house = a_house(*sequence)

        assert house.state() is state, sequence
        assert house.restocked() == restocked, sequence
        live = [s for s in house.shipments.values() if s.state is not ShipmentState.CANCELED]
        assert house.units(*live) == (ALL - restocked if state is ShipmentState.CREATED else Counter())
        assert [type(m) for m in house.said].count(ShipmentCreated) <= 1


@pytest.mark.parametrize(
    "facts",
    [
        (PAID, COMMITTED, HELD),
        (PAID, COMMITTED, a_refund("approved")),
        (PAID, COMMITTED, a_refund("approved", amount_minor=1700, lines=CAP)),
        (PAID, COMMITTED, a_refund("succeeded", "1", amount_minor=2700), a_refund("approved", "2", amount_minor=2700)),
        (PAID, COMMITTED, a_dispute("opened")),
        (PAID, COMMITTED, a_dispute("won", 2), a_dispute("opened", 3)),
    ],
    ids=["held", "refund under way", "refund of a line under way", "the rest under way", "disputed", "disputed anew"],
)
def test_whatever_holds_an_order_keeps_it_in_the_house_in_any_order(facts: tuple[Fact, ...]) -> None:
    for sequence in permutations(facts):
        house = a_house(*sequence)

        assert house.state() in (None, ShipmentState.CREATED)
        assert decide.blocked(house.order)
        if house.state() is ShipmentState.CREATED:
            with pytest.raises(ShipmentHeld):
                house.move(SHIP)


def test_a_refund_that_fails_after_all_frees_what_has_not_been_taken_back() -> None:
    late = a_house(a_refund("approved"), a_refund("failed"), a_refund("succeeded"), PAID, COMMITTED)
    taken_back = a_house(PAID, COMMITTED, a_refund("approved"), a_refund("succeeded"), a_refund("failed"))

    assert late.state() is ShipmentState.CREATED
    assert taken_back.state() is ShipmentState.CANCELED


def test_a_parcel_that_left_is_not_canceled_by_a_refund_and_comes_back_whole() -> None:
    house = a_house(PAID, COMMITTED)
    house.move(SHIP)

    house.learn(a_refund("approved"))
    house.learn(a_refund("succeeded"))
    house.move(Return())

    assert house.state() is ShipmentState.RETURNED
    assert house.restocked() == ALL


def test_what_is_refunded_and_not_sold_again_is_never_put_back_on_the_shelf() -> None:
    broken = a_refund("succeeded", lines=MUGS, unsellable=MUG, amount_minor=3600)
    whole = a_refund("succeeded", "2", lines=LINES, unsellable=CAP)

    cut = a_house(PAID, COMMITTED, broken)
    canceled = a_house(PAID, COMMITTED, whole)
    both = a_house(PAID, COMMITTED, broken, a_refund("succeeded", "2", amount_minor=1800, lines=CAP, unsellable=CAP))
    before_the_stock = a_house(whole, PAID, COMMITTED)

    assert (cut.restocked(), cut.unsellable()) == (Counter(MUG=1), Counter(MUG=1))
    assert (canceled.restocked(), canceled.unsellable()) == (Counter(MUG=2), Counter(CAP=1))
    assert (both.restocked(), both.unsellable()) == (Counter(MUG=1), Counter(MUG=1, CAP=1))
    assert (before_the_stock.restocked(), before_the_stock.unsellable()) == (Counter(MUG=2), Counter(CAP=1))


@pytest.mark.parametrize("verdict", ["approved", "succeeded", "failed", "rejected"])
def test_a_parcel_that_comes_back_returns_to_the_shelf_without_what_is_not_sold_again(verdict: str) -> None:
    house = a_house(PAID, COMMITTED)
    house.move(SHIP)

    house.learn(a_refund(verdict, lines=MUGS, unsellable=MUGS, amount_minor=3600))
    house.move(Return())

    agreed = verdict in ("approved", "succeeded")
    assert house.restocked() == (Counter(CAP=1) if agreed else ALL)
    assert house.unsellable() == (Counter(MUG=2) if agreed else Counter())


def test_what_was_taken_out_before_the_parcel_left_is_not_missed_when_it_comes_back() -> None:
    house = a_house(PAID, COMMITTED, a_refund("succeeded", lines=MUG, unsellable=MUG, amount_minor=1800))

    house.move(SHIP)
    house.move(Return())

    assert (house.restocked(), house.unsellable()) == (Counter(CAP=1, MUG=1), Counter(MUG=1))


def test_a_parcel_goes_its_way_and_says_each_step_once() -> None:
    house = a_house(PAID, COMMITTED)

    for movement in (SHIP, SHIP, Deliver(), Deliver(), Return(), Return()):
        house.move(movement)

    assert [type(message) for message in house.said] == [
        ShipmentCreated,
        ShipmentShipped,
        ShipmentDelivered,
        ShipmentReturned,
    ]
    shipped = house.said[1]
    assert isinstance(shipped, ShipmentShipped)
    assert (shipped.carrier, shipped.tracking_number) == ("DHL", "JD01")
    assert shipped.customer is not None


@pytest.mark.parametrize("movement", [SHIP, Deliver(), Return()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("state", ShipmentState)
def test_a_step_without_an_arrow_is_refused(state: ShipmentState, movement: Movement) -> None:
    house = a_house(PAID, COMMITTED)
    shipment = Shipment(MAIN, ORDER, state, LINES, SHIP.carrier, SHIP.tracking_number)

    if type(movement) in ARROWS[state]:
        decide.move(house.order, shipment, movement)
    else:
        with pytest.raises(IllegalStep):
            decide.move(house.order, shipment, movement)


def test_a_parcel_cannot_be_shipped_a_second_way() -> None:
    house = a_house(PAID, COMMITTED)
    house.move(SHIP)

    with pytest.raises(IllegalStep):
        house.move(Ship("DHL", "JD02"))


def test_an_order_held_from_the_start_gets_no_parcel() -> None:
    assert a_house(HELD, PAID, COMMITTED).state() is None


def test_the_latest_word_about_a_hold_counts_in_any_order() -> None:
    held_again = Held(UNHELD.at + timedelta(hours=1))
    let_go_again = Unheld(held_again.at + timedelta(hours=1))

    words: list[Fact] = [HELD, UNHELD, held_again, let_go_again]
    for heard, held in ((2, False), (3, True), (4, False)):
        assert {a_house(*sequence).order.held for sequence in permutations(words[:heard])} == {held}


def test_each_cause_of_a_hold_ends_on_its_own_in_any_order() -> None:
    reviewed, warned = Held(NOON, "review:1"), Held(NOON, "early_fraud_warning:2")
    approved, cleared = Unheld(NOON, "review:1"), Unheld(NOON, "early_fraud_warning:2")
    histories: tuple[tuple[tuple[Fact, ...], bool], ...] = (
        ((reviewed,), True),
        ((reviewed, approved), False),
        ((reviewed, warned, approved), True),
        ((reviewed, warned, approved, cleared), False),
        ((approved,), False),
        ((HELD, UNHELD, reviewed), True),
        ((HELD, reviewed, approved), True),
    )

    for words, held in histories:
        for sequence in permutations(words + words[:1]):
            assert a_house(*sequence).order.held is held


def test_a_payment_that_its_bank_calls_fraud_sends_nothing_once_it_went_back() -> None:
    back = a_refund("succeeded", reason="early_fraud_warning")
    facts: tuple[Fact, ...] = (PAID, COMMITTED, Held(NOON, "early_fraud_warning:2"), back)

    for sequence in permutations(facts):
        house = a_house(*sequence)
        assert house.state() is ShipmentState.CANCELED
        assert house.restocked() == ALL


REFUNDS = {
    verdict: (
        a_refund(verdict, "1", amount_minor=1700, lines=CAP),
        a_refund(verdict, "2", amount_minor=1800, lines=MUG),
        a_refund(verdict, "3", amount_minor=TOTAL),
        a_refund(verdict, "4", reason="surplus_payment", payment_intent="pi_twin"),
    )
    for verdict in Verdict
}
FACTS = st.one_of(
    st.sampled_from([PAID, COMMITTED, HELD, UNHELD, Held(NOON, "review:1"), Unheld(NOON, "review:1")]),
    st.sampled_from([refund for refunds in REFUNDS.values() for refund in refunds]),
    st.builds(a_dispute, st.sampled_from(["opened", "won", "lost"]), st.integers(1, 4), st.sampled_from(["1", "2"])),
)
MOVEMENTS = st.sampled_from([SHIP, Deliver(), Return()])


@given(st.lists(st.one_of(FACTS, MOVEMENTS), max_size=25))
def test_whatever_happens_no_unit_is_sent_and_put_back_or_either_of_them_twice(
    happenings: Sequence[Fact | Movement],
) -> None:
    house = House()

    for happening in happenings:
        if not isinstance(happening, Ship | Deliver | Return):
            house.learn(happening)
        elif MAIN in house.shipments:
            try:
                house.move(happening)
            except (IllegalStep, ShipmentHeld):
                continue

    gone = [s for s in house.shipments.values() if s.state in (ShipmentState.SHIPPED, ShipmentState.DELIVERED)]
    assert not (house.units(*gone) + house.restocked()) - ALL
