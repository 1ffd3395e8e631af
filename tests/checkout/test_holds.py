"""Suspicions hold what is paid for, end one by one, and are the same whatever comes first and however often."""

import itertools
from dataclasses import replace
from uuid import UUID

import pytest

from checkout.decide import learning, risks, verdicts
from checkout.decide.holds import Hold
from checkout.decide.learning import Account
from checkout.decide.order import Say
from checkout.model.facts import (
    EndAsked,
    Fact,
    FraudWarned,
    HoldEnded,
    HoldLifted,
    OrderEnded,
    OrderRefused,
    ReviewSeen,
)
from checkout.model.orders import State
from checkout.model.risks import Attempt
from payments_shared.errors import Refused
from tests.checkout.test_order_fold import (
    AT,
    CAPTURED,
    DECLINE_1,
    EXPIRED,
    LAPSED,
    MISMATCHED,
    PAID,
    RELEASED,
    SECOND,
    an_order,
    doublings,
)

OPENED = ReviewSeen("prv_1", "pi_1", "rule")
APPROVED = ReviewSeen("prv_1", "pi_1", "rule", "approved")
LEFT_OPEN = ReviewSeen("prv_1", "pi_1", "rule", "acknowledged")
SECOND_OPENED = ReviewSeen("prv_2", "pi_1", "manual")
OTHERS_OPENED = ReviewSeen("prv_3", "pi_2", "rule")
WARNED = FraudWarned("issfr_1", "pi_1", "misc", shipped=False)
WARNED_SMALL = replace(WARNED, refund_up_to_minor=3600)
WARNED_LATE = replace(WARNED_SMALL, shipped=True)
LIFTED = HoldLifted("review:prv_1", "carol")
REFUSED = OrderRefused("carol", "not the cardholder")
WARNING_LIFTED = HoldLifted("early_fraud_warning:issfr_1", "carol")
REFUSED_BACK = f"{Say.REFUND}pi_1:canceled_order"
PAID_BACK = f"{Say.REFUND}pi_1:early_fraud_warning"


def closed(reason: str) -> ReviewSeen:
    return ReviewSeen("prv_1", "pi_1", "rule", reason)


def arrive(facts: tuple[Fact, ...]) -> Account:
    """Fold facts one by one, as the shell does."""
    account = Account(an_order(), {}, frozenset())
    for fact in facts:
        learned = learning.learn(account, fact, now=AT, mismatch_seconds=60)
        account = learned.account if learned else account
    return account


HISTORIES: dict[str, tuple[tuple[Fact, ...], str | None, set[str]]] = {
    "in review": ((CAPTURED, PAID, OPENED), "review", {"held:review:prv_1", "paid:pi_1"}),
    "declined before": ((DECLINE_1, CAPTURED, PAID, OPENED), "review", {"held:review:prv_1", "paid:pi_1"}),
    "approved": (
        (CAPTURED, PAID, OPENED, APPROVED),
        None,
        {"held:review:prv_1", "unheld:review:prv_1", "paid:pi_1"},
    ),
    "approved, and never heard to be opened": (
        (PAID, APPROVED),
        None,
        {"held:review:prv_1", "unheld:review:prv_1", "paid:pi_1"},
    ),
    "closed without a word on the money": ((PAID, OPENED, LEFT_OPEN), "review", {"held:review:prv_1", "paid:pi_1"}),
    "released by a person": (
        (PAID, OPENED, LIFTED),
        None,
        {"held:review:prv_1", "unheld:review:prv_1", "paid:pi_1"},
    ),
    "two reviews of which one is over": (
        (PAID, OPENED, SECOND_OPENED, APPROVED),
        "review",
        {"held:review:prv_1", "held:review:prv_2", "unheld:review:prv_1", "paid:pi_1"},
    ),
    "warned of": ((PAID, WARNED), "early_fraud_warning", {"held:early_fraud_warning:issfr_1", "paid:pi_1"}),
    "warned of, a small amount": (
        (CAPTURED, PAID, WARNED_SMALL),
        "early_fraud_warning",
        {"held:early_fraud_warning:issfr_1", "paid:pi_1", PAID_BACK},
    ),
    "warned of when the goods had left": ((PAID, WARNED_LATE), None, {"paid:pi_1"}),
    "warned of, and released": (
        (PAID, WARNED, WARNING_LIFTED),
        None,
        {"held:early_fraud_warning:issfr_1", "unheld:early_fraud_warning:issfr_1", "paid:pi_1"},
    ),
    "approved, then warned of": (
        (PAID, OPENED, APPROVED, WARNED),
        "early_fraud_warning",
        {"held:review:prv_1", "unheld:review:prv_1", "held:early_fraud_warning:issfr_1", "paid:pi_1"},
    ),
    "never paid": ((DECLINE_1, OPENED), None, set()),
    "expired in review": ((EXPIRED, OPENED, closed("canceled")), None, set()),
    **{
        f"closed as {reason}": (
            (PAID, OPENED, closed(reason)),
            "review_rejected",
            {"held:review:prv_1", "held:review:prv_1:rejected", "paid:pi_1"},
        )
        for reason in ("refunded", "refunded_as_fraud", "disputed")
    },
    "released by a person, and then rejected": (
        (PAID, OPENED, LIFTED, closed("refunded_as_fraud")),
        "review_rejected",
        {"held:review:prv_1", "unheld:review:prv_1", "held:review:prv_1:rejected", "paid:pi_1"},
    ),
    "approved, and then disputed": (
        (PAID, APPROVED, closed("disputed")),
        "review_rejected",
        {"held:review:prv_1", "unheld:review:prv_1", "held:review:prv_1:rejected", "paid:pi_1"},
    ),
    "warned of, and refused": (
        (PAID, WARNED, REFUSED),
        "early_fraud_warning",
        {"held:early_fraud_warning:issfr_1", "paid:pi_1", REFUSED_BACK},
    ),
    "rejected, and refused": (
        (PAID, closed("refunded"), REFUSED),
        "review_rejected",
        {"held:review:prv_1", "held:review:prv_1:rejected", "paid:pi_1", REFUSED_BACK},
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_every_permutation_with_duplicates_is_held_alike(name: str) -> None:
    facts, held_reason, wanted = HISTORIES[name]

    for once in itertools.permutations(facts):
        for doubled in doublings(once):
            account = arrive(doubled)

            spoken = {key for key in account.said if key.startswith((Say.SUSPECTED, Say.CLEARED, Say.PAID, Say.REFUND))}
            assert account.order.held_reason == held_reason
            assert spoken == wanted


@pytest.mark.parametrize("name", HISTORIES)
def test_nothing_may_leave_before_its_hold_is_said_and_no_deadline_ends_it(name: str) -> None:
    facts, _, _ = HISTORIES[name]

    for once in itertools.permutations(facts):
        account = Account(an_order(), {}, frozenset())
        for fact in once:
            learned = learning.learn(account, fact, now=AT, mismatch_seconds=60)
            assert learned is not None
            account = learned.account
            due = learned.due
            holds = [due.index(key) for key in due if key.startswith(Say.SUSPECTED)]
            if "paid:pi_1" in due:
                assert all(position < due.index("paid:pi_1") for position in holds)
            assert account.order.held_until is None
            if account.order.held_reason is not None:
                assert account.order.state is State.PAID


def test_a_review_of_another_payment_holds_nothing() -> None:
    account = arrive((PAID, SECOND, OTHERS_OPENED))

    assert account.order.held_reason is None
    assert not any(key.startswith(Say.SUSPECTED) for key in account.said)


def test_money_that_does_not_match_is_decided_first_and_then_the_review() -> None:
    quarantined = arrive((MISMATCHED, OPENED))
    released = arrive((MISMATCHED, OPENED, RELEASED))
    lapsed = arrive((MISMATCHED, OPENED, LAPSED))

    assert quarantined.order.held_reason == "amount_mismatch"
    assert quarantined.said == {Say.HELD}
    assert released.order.held_reason == "review"
    assert released.said == {Say.HELD, Say.UNHELD, "held:review:prv_1", "paid:pi_1"}
    assert lapsed.order.held_reason is None
    assert f"{Say.REFUND}pi_1:amount_mismatch" in lapsed.said


def test_a_canceled_order_gives_its_money_back_once_whatever_is_suspected() -> None:
    facts: tuple[Fact, ...] = (PAID, OPENED, WARNED_SMALL)
    for mixed in itertools.permutations(facts):
        account = arrive((OrderEnded("out_of_stock"), *mixed))

        assert account.order.held_reason is None
        assert [key for key in account.said if key.startswith(Say.REFUND)] == [f"{Say.REFUND}pi_1:canceled_order"]


def test_what_a_review_gave_back_is_not_given_back_again() -> None:
    account = arrive((PAID, OPENED, closed("refunded"), WARNED_SMALL))

    assert account.order.held_reason == "review_rejected"
    assert not any(key.startswith(Say.REFUND) for key in account.said)


@pytest.mark.parametrize(("limit", "given_back"), [(None, False), (0, False), (3599, False), (3600, True)])
def test_a_warning_gives_back_up_to_the_limit_of_the_day(limit: int | None, given_back: bool) -> None:
    account = arrive((PAID, replace(WARNED, refund_up_to_minor=limit)))

    assert (PAID_BACK in account.said) is given_back
    assert account.order.held_reason == "early_fraud_warning", "until the refund has succeeded nothing leaves either"


def test_a_person_cannot_lift_what_only_a_refund_ends() -> None:
    account = arrive((PAID, OPENED, LIFTED, closed("disputed"), HoldLifted("review:prv_1:rejected", "carol")))

    assert learning.seen_of(account).holds == (
        Hold("review:prv_1", "review", over=True),
        Hold("review:prv_1:rejected", "review_rejected", over=False, final=True),
    )
    assert account.order.held_reason == "review_rejected"


# -- verdicts of people ----------------------------------------------------------------------------------------------


def test_a_person_lifts_all_suspicions_that_he_can_know_of() -> None:
    account = arrive((PAID, OPENED, WARNED))

    assert verdicts.release(account, "carol", "he called") == (
        HoldLifted("early_fraud_warning:issfr_1", "carol", "he called"),
        HoldLifted("review:prv_1", "carol", "he called"),
    )
    (ended,) = verdicts.release(arrive((MISMATCHED, OPENED)), "carol", "a gift")
    told = risks.of_fact(ended, an_order())
    assert ended == HoldEnded(released=True, by="carol", reason="a gift")
    assert told is not None
    assert (told.gate, told.reasons) == ("quarantine", ("released by carol", "a gift"))
    assert verdicts.release(arrive((PAID,)), "carol", None) == ()


def test_a_person_gives_the_money_of_a_held_order_back_once() -> None:
    quarantined = arrive((MISMATCHED, OPENED))

    assert verdicts.refuse(arrive((PAID, WARNED)), "carol", REFUSED.reason) == (REFUSED,)
    assert verdicts.refuse(arrive((PAID, closed("disputed"))), "carol", REFUSED.reason) == (REFUSED,)
    assert verdicts.refuse(arrive((PAID, WARNED, REFUSED)), "dave", "again") == ()
    assert verdicts.refuse(quarantined, "carol", REFUSED.reason) == (HoldEnded(released=False), REFUSED)
    with pytest.raises(Refused, match="Nothing holds the order"):
        verdicts.refuse(arrive((PAID,)), "carol", "no")
    both = arrive((MISMATCHED, OPENED, HoldEnded(released=False), REFUSED))
    assert [key for key in both.said if key.startswith(Say.REFUND)] == [f"{Say.REFUND}pi_1:amount_mismatch"]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ((PAID, OPENED, closed("refunded")), "review_rejected"),
        ((PAID, WARNED, REFUSED), "order_refused"),
        ((MISMATCHED, HoldEnded(released=False), REFUSED), "order_refused"),
        ((PAID, WARNED_SMALL), "refund_on_its_way"),
        ((PAID, OPENED, WARNED_SMALL), "refund_on_its_way"),
    ],
)
def test_nobody_releases_what_is_on_its_way_back(facts: tuple[Fact, ...], code: str) -> None:
    with pytest.raises(Refused) as refused:
        verdicts.release(arrive(facts), "carol", None)

    assert (refused.value.code, refused.value.status) == (code, 409)


REFUND_ID = UUID(int=1)


def refunded(account: Account, status: str, amount_minor: int = 3600, refund_id: UUID = REFUND_ID) -> Account:
    return replace(account, order=learning.with_refund(account, refund_id, status, amount_minor, "pi_1"))


def test_the_mark_ends_when_all_money_is_back_and_returns_with_it() -> None:
    account = arrive((PAID, WARNED_SMALL))

    part = refunded(account, "succeeded", 3599)
    whole = refunded(refunded(account, "approved"), "succeeded")
    later = learning.learn(whole, OPENED, now=AT, mismatch_seconds=60)
    failed = refunded(whole, "failed")

    assert refunded(account, "approved").order.held_reason == "early_fraud_warning"
    assert part.order.held_reason == "early_fraud_warning"
    assert whole.order.held_reason is None
    assert later is not None
    assert later.account.order.held_reason is None
    assert failed.order.held_reason == "early_fraud_warning"
    assert verdicts.release(failed, "carol", None) == (HoldLifted("early_fraud_warning:issfr_1", "carol"),)


def test_a_second_payment_that_is_back_ends_no_hold_and_no_quarantine_ends_so() -> None:
    twice = refunded(arrive((PAID, SECOND, WARNED)), "succeeded")
    quarantined = refunded(arrive((MISMATCHED,)), "succeeded", 1_000_000)

    assert twice.order.held_reason == "early_fraud_warning"
    assert quarantined.order.held_reason == "amount_mismatch", "its deadline brings its goods back"


# -- in words --------------------------------------------------------------------------------------------------------


def test_each_decision_is_told_with_its_reasons() -> None:
    order = an_order()

    told = [risks.of_fact(fact, order) for fact in (OPENED, APPROVED, closed("refunded_as_fraud"), LEFT_OPEN)]
    warnings = [risks.of_fact(fact, order) for fact in (WARNED, WARNED_SMALL, WARNED_LATE)]
    released = risks.of_fact(LIFTED, order)

    assert [(r.gate, r.outcome, r.reasons) for r in told if r] == [
        ("review", "opened", ("rule",)),
        ("review", "approved", ("approved",)),
        ("review", "rejected", ("refunded_as_fraud",)),
        ("review", "left_open", ("acknowledged",)),
    ]
    assert [(r.outcome, r.reasons) for r in warnings if r] == [
        ("hold", ("misc", "3600 usd", "no refund without a person")),
        ("refund", ("misc", "3600 usd", "refunds up to 3600 usd")),
        ("shipped", ("misc", "3600 usd", "shipped")),
    ]
    refused = risks.of_fact(REFUSED, order)
    assert refused is not None
    assert (refused.gate, refused.outcome) == ("person", "refused")
    assert refused.reasons == ("refused by carol", "not the cardholder")
    assert released is not None
    assert (released.gate, released.outcome, released.reasons) == ("review", "released", ("released by carol",))
    assert all(risks.of_fact(fact, order) is None for fact in (PAID, DECLINE_1, HoldEnded(True), EndAsked("buyer")))


def test_an_attempt_is_told_as_radar_saw_it() -> None:
    attempt = Attempt(
        "ch_1", "pi_1", declined=True, at=AT, fingerprint="secret", type="blocked", network_status="not_sent_to_network",
        reason="highest_risk_level", risk_level="highest", risk_score=91, rule="block_if_high_risk", seller_message="No.",
    )  # fmt: skip

    risk = risks.of_attempt(attempt)
    odd = risks.of_attempt(replace(attempt, type="authorized", declined=False, risk_level="a level of tomorrow"))

    assert (risk.gate, risk.outcome) == ("radar", "blocked")
    assert risk.reasons == ("highest_risk_level", "rule block_if_high_risk", "No.")
    assert risk.detail["risk_score"] == 91
    assert "secret" not in repr(risk), "a card's fingerprint is nowhere kept as it is"
    assert odd.outcome == "unknown", "labels come from a closed set"
