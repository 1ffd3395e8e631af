"""The machine of a dispute, what it withholds, and what is said and paid because of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from pydantic import TypeAdapter

from payments_shared.contracts import refunds as said
from payments_shared.errors import Poison, Refused
from payments_shared.ids import derived_id
from refunds.decide import approving, asking, disputing, owing, saying, warning
from refunds.decide.asking import Asked, Known
from refunds.decide.disputing import ARROWS, IllegalDispute
from refunds.decide.owing import Cause
from refunds.decide.warning import Warned
from refunds.model.bills import Amount, Bill, Everything, Given, Tender, Wish
from refunds.model.disputes import Dispute, DisputeState, FraudWarning, Told
from refunds.model.exhibits import Exhibit, Kind
from refunds.model.refunds import Order, Payment, Refund, State
from refunds.model.requests import Destination, Person
from refunds.model.rules import Rules, Standing
from tests.refunds.test_shares import a_bill as bill_of_lines

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDER = derived_id("order", "1")
PAYMENT = Payment("pi_1", ORDER, "usd", 10_000, settles=True)
STATUSES = {
    "warning_needs_response": DisputeState.INQUIRY,
    "warning_under_review": DisputeState.INQUIRY,
    "warning_closed": DisputeState.CLOSED,
    "needs_response": DisputeState.OPEN,
    "under_review": DisputeState.UNDER_REVIEW,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
    "prevented": DisputeState.LOST,
}
STATUS_OF = {state: status for status, state in reversed(STATUSES.items())}


def told(status: str = "needs_response", **given: object) -> Told:
    return replace(Told("du_1", "ch_1", "pi_1", 6000, "usd", status, "fraudulent", NOW), **given)  # type: ignore[arg-type] # by name


def folded(answer: Told, before: Dispute | None = None, *, seconds: int = 0) -> Dispute:
    found = disputing.folded(before, answer, NOW + timedelta(seconds=seconds), order_id=ORDER, now=NOW)
    assert found is not None
    return found


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_of_stripe_is_a_state(status: str) -> None:
    assert folded(told(status)).state is STATUSES[status]


def test_an_unknown_status_is_for_a_person() -> None:
    with pytest.raises(Poison, match="unknown_status"):
        folded(told("arbitrated"))


@pytest.mark.parametrize(("before", "after"), list(product(DisputeState, DisputeState)))
def test_every_square_is_a_step_or_a_named_error(before: DisputeState, after: DisputeState) -> None:
    was = folded(told(STATUS_OF[before]))

    if after in ARROWS[before]:
        now = folded(told(STATUS_OF[after]), was, seconds=1)
        assert (now.state, now.version) == (after, was.version + (after is not before))
        assert (now.closed_at is not None) == (after in (DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED))
    else:
        with pytest.raises(IllegalDispute, match=f"a dispute that is {before} cannot become {after}"):
            folded(told(STATUS_OF[after]), was, seconds=1)


def test_what_has_begun_as_a_dispute_never_was_an_inquiry() -> None:
    begun = set(DisputeState) - {DisputeState.INQUIRY}

    assert not [state for state in begun if DisputeState.INQUIRY in ARROWS[state]]
    assert not [state for state in begun - {DisputeState.CLOSED} if DisputeState.CLOSED in ARROWS[state]]


def test_the_answer_to_an_older_question_is_dropped() -> None:
    newer = folded(told("won"), seconds=10)

    assert disputing.folded(newer, told("needs_response"), NOW, order_id=ORDER, now=NOW) is None


@pytest.mark.parametrize(
    ("status", "given", "withheld", "lost"),
    [
        ("warning_needs_response", {}, 0, 0),
        ("needs_response", {}, 6000, 0),
        ("under_review", {}, 6000, 0),
        ("won", {}, 0, 0),
        ("lost", {}, 6000, 6000),
        ("warning_closed", {}, 0, 0),
        ("needs_response", {"currency": "eur", "amount_minor": 1}, 10_000, 0),
        ("lost", {"currency": "eur", "amount_minor": 1}, 10_000, 10_000),
    ],
)
def test_what_is_open_or_lost_is_withheld(status: str, given: dict[str, object], withheld: int, lost: int) -> None:
    dispute = folded(told(status, **given))

    assert disputing.withheld([dispute], PAYMENT) == withheld
    assert disputing.lost([dispute], PAYMENT) == lost


@pytest.mark.parametrize(
    ("status", "kind", "model"),
    [
        ("warning_needs_response", "inquiry", said.DisputeOpened),
        ("warning_closed", "inquiry", said.DisputeWon),
        ("needs_response", "dispute", said.DisputeOpened),
        ("won", "dispute", said.DisputeWon),
        ("lost", "dispute", said.DisputeLost),
    ],
)
def test_each_turn_is_said_once(status: str, kind: str, model: type[said.AboutDispute]) -> None:
    dispute = folded(told(status))
    announced = disputing.due_announcement(dispute)
    assert announced is not None

    message = saying.disputed(dispute, announced)

    assert isinstance(message, model)
    assert (message.kind, message.version) == (kind, 1)
    assert disputing.due_announcement(replace(dispute, said=announced)) is None
    assert disputing.due_announcement(replace(dispute, order_id=None)) is None


def test_an_inquiry_that_is_escalated_is_opened_anew() -> None:
    inquiry = replace(folded(told("warning_needs_response")), said="opened:inquiry")

    assert disputing.due_announcement(folded(told("needs_response"), inquiry, seconds=1)) == "opened:dispute"


@pytest.mark.parametrize(
    ("hours", "before", "due"),
    [
        (73, None, None),
        (72, None, 72),
        (50, 72, None),
        (24, 72, 24),
        (10, None, 24),
        (10, 24, None),
        (-1, None, None),
    ],
)
def test_staff_are_reminded_of_a_deadline_once_at_each_mark(hours: int, before: int | None, due: int | None) -> None:
    dispute = replace(folded(told(due_by=NOW + timedelta(hours=hours))), reminded_hours=before)

    assert disputing.due_reminder(dispute, NOW) == due


@pytest.mark.parametrize(
    "answer",
    [
        told("under_review", due_by=NOW + timedelta(hours=10)),
        told("won", due_by=NOW + timedelta(hours=10)),
        told(submission_count=1, due_by=NOW + timedelta(hours=10)),
        told(due_by=None),
    ],
)
def test_nobody_is_reminded_of_what_needs_no_evidence(answer: Told) -> None:
    assert disputing.due_reminder(folded(answer), NOW) is None


def test_a_deadline_that_moves_is_reminded_of_anew() -> None:
    before = replace(folded(told(due_by=NOW + timedelta(hours=10))), reminded_hours=24)

    after = folded(told(due_by=NOW + timedelta(hours=20)), before, seconds=1)

    assert disputing.due_reminder(after, NOW) == 24


# -- what goes back ----------------------------------------------------------------------------------------------------


def a_refund(amount: int, tender: str = "pi_1") -> Refund:
    return Refund(
        derived_id("refund", tender), ORDER, tender, amount, "usd", "goodwill", State.AWAITING_APPROVAL, "sam"
    )


@pytest.mark.parametrize(
    ("amount", "disputed", "refundable"), [(10_000, 6000, 4000), (4001, 6000, 4000), (4000, 6000, None), (1, 10_000, 0)]
)
def test_what_no_longer_fits_beside_a_dispute_is_not_agreed_to(
    amount: int, disputed: int, refundable: int | None
) -> None:
    tenders = [Tender("pi_1", 10_000, spent_minor=amount, disputed_minor=disputed)]

    if refundable is None:
        approving.check_fits([a_refund(amount)], tenders)
    else:
        with pytest.raises(Refused, match="amount_exceeds_refundable") as refused:
            approving.check_fits([a_refund(amount)], tenders)
        assert refused.value.extra == {"refundable": refundable}


def test_what_the_system_still_owes_after_a_loss_has_an_id_that_names_the_dispute() -> None:
    displaced = replace(a_refund(10_000), requester="system:shortfall", reason="shortfall")
    cause = owing.still_owed(displaced, "du_1")
    assert cause is not None

    owed = owing.system_refund(PAYMENT, cause, active_minor=0, lost_minor=6000)

    assert owed is not None
    assert owed.refund.amount_minor == 4000
    assert owed.refund.id == owing.refund_id("pi_1", "shortfall", "du_1") != owing.refund_id("pi_1", "shortfall")
    assert owing.still_owed(a_refund(10_000), "du_1") is None


def test_what_a_loss_displaced_is_owed_again_once_the_dispute_is_won_after_all() -> None:
    won = replace(folded(told("won")), version=3)
    displaced = replace(a_refund(5000), requester="system:amount_mismatch", reason="amount_mismatch")
    paid = replace(displaced, amount_minor=4000, state=State.SUCCEEDED)
    asked = a_refund(6000)

    assert disputing.owed_after_all(won, [displaced, asked], []) == (Cause("amount_mismatch", 5000, "du_1:3"),)
    assert disputing.owed_after_all(won, [displaced], [paid]) == (Cause("amount_mismatch", 1000, "du_1:3"),)
    assert disputing.owed_after_all(won, [displaced], [paid, replace(paid, amount_minor=1000)]) == ()


WARNED = FraudWarning("issfr_1", "ch_1", "pi_1", "misc", actionable=True)


@pytest.mark.parametrize(
    ("limit", "warnings", "disputes", "pays"),
    [
        ({"usd": 10_000}, [WARNED], [], True),
        ({"usd": 9999}, [WARNED], [], False),
        ({"eur": 10_000}, [WARNED], [], False),
        ({}, [WARNED], [], False),
        ({"usd": 10_000}, [], [], False),
        ({"usd": 10_000}, [replace(WARNED, actionable=False)], [], False),
        ({"usd": 10_000}, [WARNED], [told("needs_response")], False),
        ({"usd": 10_000}, [WARNED], [told("lost")], False),
        ({"usd": 10_000}, [WARNED], [told("warning_needs_response")], True),
    ],
)
def test_a_warned_payment_goes_back_by_the_rules_alone(
    limit: dict[str, int], warnings: list[FraudWarning], disputes: list[Told], pays: bool
) -> None:
    rules = Rules(refund_warned_up_to=limit)

    assert warning.pays_back(Warned(PAYMENT, warnings, [folded(one) for one in disputes]), rules) is pays


def a_bill(total_minor: int) -> Bill:
    return Bill("usd", total_minor, 0, 0, 0, total_minor, 0, (), NOW)


@pytest.mark.parametrize(
    ("total_minor", "kinds", "pays"),
    [
        (10_000, [], True),
        (10_000, [Kind.PLACED, Kind.PAID, Kind.PREPARED, Kind.CANCELED, Kind.MAIL], True),
        (10_000, [Kind.PREPARED, Kind.SHIPPED], False),
        (10_000, [Kind.DELIVERED], False),
        (10_000, [Kind.DIGITAL], False),
        (10_001, [], False),
        (30_000, [], False),
    ],
)
def test_a_warned_payment_stays_where_goods_have_gone_or_something_else_paid_too(
    total_minor: int, kinds: list[Kind], pays: bool
) -> None:
    exhibits = [Exhibit(ORDER, kind, "order", NOW, {}) for kind in kinds]
    warned = Warned(PAYMENT, [WARNED], [], a_bill(total_minor), exhibits)

    assert warning.pays_back(warned, Rules(refund_warned_up_to={"usd": 20_000})) is pays


def test_rules_of_before_pay_no_warned_payment_back() -> None:
    kept = {"version": 3, "per_refund": {"usd": 1}, "window_days": 30}

    assert TypeAdapter(Rules).validate_python(kept).refund_warned_up_to == {}


def test_everything_is_refused_as_long_as_a_dispute_withholds_a_part_of_it() -> None:
    order = Order(ORDER, {"email": "ada@example.com"}, paid=True, shortfall=False, bill=bill_of_lines((1, 10_000)))
    rules = Rules(per_refund={"usd": 10_000}, per_operator_day={"usd": 10_000}, per_customer_month={"usd": 10_000})

    def ask(wish: Wish, withheld_minor: int) -> int:
        known = Known(order, [PAYMENT], {}, {"pi_1": withheld_minor}, Given(), rules, NOW)
        asked = Asked(ORDER, wish, Destination.ORIGINAL, "goodwill", "", Person("sam"))
        return asking.requested(ORDER, asked, known, Standing())[0].amount_minor

    with pytest.raises(Refused) as refused:
        ask(Everything(), 6000)

    assert (refused.value.code, refused.value.extra) == ("amount_exceeds_refundable", {"refundable": 4000})
    assert (ask(Amount(4000), 6000), ask(Everything(), 0)) == (4000, 10_000)
