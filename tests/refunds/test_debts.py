"""What the system owes is owed until it went back, in whichever order its facts come."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Final
from uuid import UUID

import pytest

from payments_shared.contracts.fulfillment import DISPUTE_LOST
from payments_shared.errors import Refused
from payments_shared.ids import derived_id, external_id
from refunds.decide import debts, following, machine, owing
from refunds.decide.machine import SPENT, Input
from refunds.decide.owing import Cause
from refunds.model.bills import Given
from refunds.model.debts import Attempt, Debt
from refunds.model.exhibits import Exhibit, Kind
from refunds.model.heard import Heard
from refunds.model.refunds import Answer, Payment, Refund, State
from refunds.model.requests import Person
from tests.refunds.cases import hours

PAYMENT: Final = Payment("pi_1", derived_id("order", "1"), "usd", 1000, settles=True)
SAM: Final = Person("sam")
WHOLE: Final = PAYMENT.captured_minor


@dataclass(slots=True)
class Books:
    """What the service keeps of one payment, folded as its handlers do."""

    refunds: dict[UUID, Refund] = field(default_factory=dict)
    debts: list[Debt] = field(default_factory=list)
    displaced: set[UUID] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)

    def hear(self, fact: str) -> None:
        """A fact as `verb name amount`; the name is that of a refund, or why something is owed."""
        verb, name, amount = fact.split()
        match verb:
            case "owed":
                self.debts.append(Debt(name, None if int(amount) == WHOLE else int(amount)))
                self._owe(Cause(name, self.debts[-1].amount_minor))
            case "asked":
                self._ask(name, int(amount))
            case "hand":
                self._by_hand(name, int(amount))
            case _:
                self._end(name, Input(verb))
        assert sum(one.amount_minor for one in self.active()) <= WHOLE

    def again(self) -> None:
        """Somebody asks for each refund that came to nothing, twice."""
        for ended in [one for one in self.refunds.values() if one.state not in SPENT] * 2:
            try:
                causes = owing.asked_again(ended, debts.all_unpaid(PAYMENT, self.debts, self._attempts()), SAM, "")
            except Refused:
                continue
            for cause in causes:
                self._owe_again(cause)
            assert sum(one.amount_minor for one in self.active()) <= WHOLE

    def active(self) -> list[Refund]:
        return [one for one in self.refunds.values() if one.state in SPENT]

    def owns(self) -> list[tuple[str, int]]:
        """What became of the refunds of the system's own."""
        return sorted(
            (one.state.value, one.amount_minor) for one in self.refunds.values() if one.requester.startswith("system:")
        )

    def _ask(self, name: str, amount: int) -> None:
        left = WHOLE - sum(one.amount_minor for one in self.active())
        if 0 < amount <= left:  # else it is refused
            made = derived_id("asked", name)
            self._put(Refund(made, PAYMENT.order_id, "pi_1", amount, "usd", "goodwill", State.APPROVED, "sam", "ann"))
            self._told(name, made)

    def _by_hand(self, name: str, amount: int) -> None:
        heard = Heard(name, "pi_1", amount, "usd", self.ended.pop(name, "succeeded"))
        displaced = following.displaced_by(heard, self.active(), WHOLE)
        self._displace(displaced)
        _, made = following.external(heard, PAYMENT, None, Given())
        self._put(machine.step(made, Input(heard.status), Answer(name, heard.status)))
        for one in displaced:
            if (cause := owing.still_owed(one, name)) is not None:
                self._owe(cause)
        for one in displaced:
            self._owe_rest(one)

    def _end(self, name: str, received: Input) -> None:
        known = {derived_id("asked", name), derived_id("stripe-refund", name), owing.refund_id("pi_1", name)}
        for refund in [self.refunds[one] for one in known & set(self.refunds)]:
            if received in machine.ARROWS[refund.state]:
                self._put(machine.step(refund, received))
            if received in (Input.WITHDRAWN, Input.REJECTED) and refund.state in SPENT:
                self._owe_rest(refund)
        if not known & set(self.refunds):
            self.ended[name] = received.value

    def _told(self, name: str, made: UUID) -> None:
        if name in self.ended:
            self._end(name, Input(self.ended.pop(name)))
        assert made in self.refunds

    def _owe(self, cause: Cause) -> None:
        if owing.id_of("pi_1", cause) in self.refunds:
            return
        self._displace(owing.in_the_way(PAYMENT, cause, self.active()))
        owed = owing.system_refund(PAYMENT, cause, active_minor=sum(one.amount_minor for one in self.active()))
        if owed is not None:
            self._put(owed.refund)

    def _owe_again(self, cause: Cause) -> None:
        while (last := self.refunds.get(owing.id_of("pi_1", cause))) is not None:
            if last.state in SPENT:
                return
            cause = owing.tried_again(cause, last)
        self._owe(cause)

    def _owe_rest(self, ended: Refund) -> None:
        for cause in debts.rest_beside(ended, PAYMENT, self.debts, self._attempts()):
            self._owe(cause)

    def _displace(self, refunds: Sequence[Refund]) -> None:
        for one in refunds:
            self.displaced.add(one.id)
            self._put(machine.step(one, Input.DISPLACED))

    def _put(self, refund: Refund) -> None:
        self.refunds[refund.id] = refund

    def _attempts(self) -> list[Attempt]:
        return [
            Attempt(one.id, one.requester, one.amount_minor, one.state, one.id in self.displaced)
            for one in self.refunds.values()
        ]


# By what happens: its facts, and whether the system gives all of it back before anybody asks, in whichever order.
HISTORIES: Final[dict[str, tuple[tuple[str, ...], bool]]] = {
    "staff take all of it back": (("asked s 1000", "owed shortfall 1000", "withdrawn s 0"), True),
    "staff take a part back": (("asked s 300", "owed shortfall 1000", "withdrawn s 0"), True),
    "staff take two parts back": (
        ("asked s 300", "withdrawn s 0", "asked t 200", "withdrawn t 0", "owed shortfall 1000"),
        True,
    ),
    "two causes, and staff take theirs back": (
        ("asked s 1000", "owed mismatch 600", "owed shortfall 1000", "withdrawn s 0"),
        True,
    ),
    "a part fails": (("asked s 300", "owed shortfall 1000", "failed s 0"), False),
    "all of it fails": (("asked s 1000", "owed shortfall 1000", "failed s 0"), False),
    "the bank returns what the dashboard gave": (("hand re_1 1000", "owed surplus 1000", "failed re_1 0"), False),
    "the dashboard gave a part": (("hand re_1 400", "owed surplus 1000", "failed re_1 0"), False),
    "the dashboard and staff": (
        ("asked s 300", "failed s 0", "hand re_1 200", "failed re_1 0", "owed shortfall 1000"),
        False,
    ),
    "two parts, of which one fails and one is taken back": (
        ("asked s 300", "failed s 0", "asked t 200", "withdrawn t 0", "owed shortfall 1000"),
        False,
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_in_every_order_all_that_is_owed_goes_back_once_somebody_asks(name: str) -> None:
    facts, by_itself = HISTORIES[name]

    for order in permutations(facts):
        books = Books()
        for fact in order:
            books.hear(fact)
        own = sum(one.amount_minor for one in books.active() if one.requester.startswith("system:"))
        assert own == WHOLE or not by_itself, order
        books.again()

        assert sum(one.amount_minor for one in books.active()) == WHOLE, order


def test_beside_what_a_refund_in_the_dashboard_displaced_the_rest_is_owed() -> None:
    books = Books()
    for fact in ("asked s 1000", "owed shortfall 1000", "hand re_1 400"):
        books.hear(fact)

    assert books.owns() == [("approved", 600)]


def test_what_failed_is_for_people_who_may_pay_it_another_way() -> None:
    books = Books()
    for fact in ("asked s 300", "owed shortfall 1000", "failed s 0"):
        books.hear(fact)
    assert books.owns() == [("approved", 700)]

    for fact in ("asked t 300", "withdrawn t 0"):
        books.hear(fact)

    assert books.owns() == [("approved", 700)], "nor where somebody asked anew and thought better of it"


def test_nor_is_that_of_another_cause_which_failed() -> None:
    books = Books()

    for fact in ("owed mismatch 600", "owed shortfall 1000", "failed mismatch 0", "asked s 100", "withdrawn s 0"):
        books.hear(fact)

    assert books.owns() == [("approved", 400), ("failed", 600)]


def test_what_was_taken_back_is_opened_beside_what_is_left_to_people_and_no_more() -> None:
    books = Books()

    for fact in ("asked s 300", "asked t 200", "owed shortfall 1000", "failed s 0", "withdrawn t 0"):
        books.hear(fact)

    assert books.owns() == [("approved", 200), ("approved", 500)]


def test_what_an_administrator_took_back_of_the_systems_own_is_not_owed_again() -> None:
    books = Books()

    for fact in ("asked s 300", "owed shortfall 1000", "withdrawn shortfall 0", "withdrawn s 0"):
        books.hear(fact)

    assert books.owns() == [("canceled", 700)]
    books.again()
    assert sum(one.amount_minor for one in books.active()) == WHOLE, "until somebody asks"


def test_what_came_in_the_place_of_the_systems_own_counts_for_it() -> None:
    books = Books()

    for fact in ("asked s 300", "owed shortfall 1000", "failed shortfall 0"):
        books.hear(fact)
    own = books.refunds[owing.refund_id("pi_1", "shortfall")]
    (cause,) = owing.asked_again(own, [], SAM, "")
    books._owe_again(cause)
    books.hear("withdrawn s 0")

    assert books.owns() == [("approved", 300), ("approved", 700), ("failed", 700)]


def test_somebody_elses_refund_is_asked_for_again_only_where_the_system_owes() -> None:
    failed = Refund(derived_id("x", "1"), PAYMENT.order_id, "pi_1", 500, "usd", "dashboard", State.FAILED, "stripe:d")
    unpaid = [Cause("surplus_payment", 500)]

    (cause,) = owing.asked_again(failed, unpaid, SAM, "the bank says yes")

    assert cause == Cause("surplus_payment", 500, external_id("ref", failed.id), "again for sam: the bank says yes")
    for refund, owed, code in (
        (failed, [], "not_owed"),
        (replace(failed, payment_intent=None), unpaid, "not_owed"),
        (replace(failed, state=State.SUCCEEDED), unpaid, "still_under_way"),
    ):
        with pytest.raises(Refused) as refused:
            owing.asked_again(refund, owed, SAM, "")
        assert refused.value.code == code


def test_of_a_request_what_came_to_nothing_is_asked_for_again() -> None:
    failed = Refund(derived_id("x", "1"), PAYMENT.order_id, "pi_1", 500, "usd", "goodwill", State.FAILED, "sam")
    lives = replace(failed, id=derived_id("x", "2"), state=State.PENDING)
    credit = replace(failed, id=derived_id("x", "3"), payment_intent=None)

    assert list(owing.ended_of([lives, failed, credit])) == [failed]
    assert list(owing.ended_of([lives, credit])) == [lives, credit]


def test_what_holds_only_while_nothing_is_sent_is_for_a_person_once_goods_have_gone() -> None:
    known = [Debt(DISPUTE_LOST), Debt("early_fraud_warning"), Debt("shortfall"), Debt("surplus_payment", 500)]
    sent = Exhibit(PAYMENT.order_id, Kind.SHIPPED, "shp_1", hours(1), {})

    assert debts.holding(known, []) == known
    assert [one.reason for one in debts.holding(known, [sent])] == ["shortfall", "surplus_payment"]
