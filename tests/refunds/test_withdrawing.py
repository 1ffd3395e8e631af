"""What is taken back, by whom, and until when: whole, and never what may be at Stripe."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Final
from uuid import UUID

import pytest

from payments_shared.errors import Refused
from payments_shared.ids import new_id
from refunds.decide.machine import Input, step
from refunds.decide.withdrawing import Taker, after, taken_back
from refunds.model.bills import NOTHING, Sum
from refunds.model.refunds import Refund, State
from refunds.model.requests import Destination, Origin, Person, Request

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
SAM: Final = Person("sam", "sam@shop.example")
ADMIN: Final = Taker(Person("ada"), "Rule 12 was wrong.", administers=True)


def a_request(*, origin: Origin = Origin.PERSON, requester: Person = SAM) -> Request:
    """A request to which Ann agreed."""
    return Request(
        id=new_id(),
        order_id=new_id(),
        currency="usd",
        amount_minor=60_000,
        sum=Sum(NOTHING),
        destination=Destination.ORIGINAL,
        reason="goodwill",
        note="",
        origin=origin,
        requester=requester,
        decided_by=Person("ann"),
        decision_note="Seen the parcel.",
        version=2,
    )


def a_refund(state: State = State.APPROVED, *, handed_over_at: datetime | None = None) -> Refund:
    """A refund that Stripe was never asked for, unless it says when it was."""
    return Refund(
        new_id(), new_id(), "pi_1", 100, "usd", "goodwill", state, "sam", "ann", first_submitted_at=handed_over_at
    )


def ids(*refunds: Refund) -> set[UUID]:
    return {refund.id for refund in refunds}


@pytest.mark.parametrize("taker", [ADMIN, Taker(SAM, ""), Taker(Person("sue"), "")], ids=["admin", "own", "colleague"])
def test_a_request_that_waits_is_taken_back_whole_by_whoever_may_ask(taker: Taker) -> None:
    request, refunds = a_request(), [a_refund(State.AWAITING_APPROVAL), a_refund(State.AWAITING_APPROVAL)]

    assert taken_back(request, refunds, (), taker) == refunds


@pytest.mark.parametrize("taker", [ADMIN, Taker(SAM, "By mistake.")], ids=["admin", "own"])
def test_what_is_put_off_is_taken_back_by_whoever_asked_for_it_or_an_administrator(taker: Taker) -> None:
    refunds = [a_refund(), a_refund()]

    ending = taken_back(a_request(), refunds, ids(*refunds), taker)

    assert ending == refunds
    assert {step(refund, Input.WITHDRAWN).state for refund in ending} == {State.CANCELED}


STRANGERS: Final = {
    "a colleague": (a_request(), Person("sue")),
    "one whose name looks like his": (a_request(), Person("S\u0430m")),
    "one with his address": (a_request(), Person("sue", SAM.email)),
    "nobody, for the system": (a_request(origin=Origin.SYSTEM, requester=Person("system:shortfall")), SAM),
    "one who is called as the system": (
        a_request(origin=Origin.SYSTEM, requester=Person("system:shortfall")),
        Person("system:shortfall"),
    ),
}


@pytest.mark.parametrize(("request_", "person"), STRANGERS.values(), ids=STRANGERS)
def test_nobody_else_takes_back_what_was_agreed_to(request_: Request, person: Person) -> None:
    refund = a_refund()

    with pytest.raises(Refused) as refused:
        taken_back(request_, [refund], ids(refund), Taker(person, "By mistake."))

    assert (refused.value.code, refused.value.status) == ("not_own_request", 403)
    assert taken_back(request_, [refund], ids(refund), ADMIN) == [refund]


@pytest.mark.parametrize(("state", "put_off", "handed_over_at"), list(product(State, (True, False), (None, AT))))
def test_of_what_was_agreed_to_only_what_is_put_off_and_was_never_handed_over_ends(
    state: State, put_off: bool, handed_over_at: datetime | None
) -> None:
    refund = a_refund(state, handed_over_at=handed_over_at)
    known = ids(refund) if put_off else set()

    if state is State.AWAITING_APPROVAL or (state is State.APPROVED and put_off and handed_over_at is None):
        assert taken_back(a_request(), [refund], known, ADMIN) == [refund]
        return
    for taker in (ADMIN, Taker(Person("sue"), "")):
        with pytest.raises(Refused) as refused:
            taken_back(a_request(), [refund], known, taker)
        assert (refused.value.code, refused.value.status) == ("already_decided", 409)
        assert refused.value.extra == {"refund_status": state}


@pytest.mark.parametrize(
    "gone", [state for state in State if state not in (State.FAILED, State.CANCELED, State.REJECTED)]
)
def test_where_a_part_may_be_gone_no_part_is_taken_back(gone: State) -> None:
    put_off, other = a_refund(), a_refund(gone)

    for refunds in ([put_off, other], [other, put_off]):
        with pytest.raises(Refused) as refused:
            taken_back(a_request(), refunds, ids(put_off), ADMIN)
        assert refused.value.extra == {"refund_status": gone}


@pytest.mark.parametrize("ended", [State.FAILED, State.CANCELED, State.REJECTED])
def test_a_part_that_came_to_nothing_stays_as_it_is(ended: State) -> None:
    put_off, other = a_refund(), a_refund(ended)

    assert taken_back(a_request(), [other, put_off], ids(put_off), ADMIN) == [put_off]


@pytest.mark.parametrize("note", ["", " \n\t"])
def test_what_was_agreed_to_is_taken_back_for_a_reason(note: str) -> None:
    refund = a_refund()

    with pytest.raises(Refused) as refused:
        taken_back(a_request(), [refund], ids(refund), replace(ADMIN, note=note))

    assert (refused.value.code, refused.value.status) == ("note_missing", 422)
    assert [error.pointer for error in refused.value.errors] == ["/note"]


def test_who_agreed_stays_who_agreed_and_of_what_waited_nobody_did() -> None:
    agreed, waiting = a_request(), replace(a_request(), decided_by=None, decision_note="", version=1)

    taken, withdrawn = after(agreed, [a_refund()], ADMIN), after(waiting, [a_refund(State.AWAITING_APPROVAL)], ADMIN)

    assert taken == replace(agreed, version=3)
    assert withdrawn == replace(waiting, decision_note=ADMIN.note, version=2)


def test_the_history_says_who_and_why() -> None:
    assert ADMIN.cause == "withdrawn by ada: Rule 12 was wrong."
    assert Taker(SAM, "").cause == "withdrawn by sam"
