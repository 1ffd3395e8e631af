"""What proves a disputed payment: which facts, which texts for which reason, and that the same facts make the same
document."""

import random
from dataclasses import replace
from uuid import UUID

import pytest

from payments_shared.contracts import notifications
from payments_shared.errors import Refused
from refunds.decide import contesting, evidence, exhibiting, hearing
from refunds.decide.evidence import COMBINED, LIMITS
from refunds.decide.exhibiting import Case, pack_of
from refunds.model.disputes import DisputeState
from refunds.model.exhibits import Kind
from refunds.model.packs import Pack
from refunds.model.requests import Person
from refunds.model.submissions import Submission, SubmissionState, Wanted
from tests.refunds.cases import CHARGE, DISPUTE, ORDER_ID, POLICY, case, exhibits, heard, hours, order, refund

TEXTS = {
    "fraudulent": {"customer_purchase_ip", "access_activity_log", "shipping_tracking_number"},
    "unrecognized": {"customer_purchase_ip", "access_activity_log", "shipping_tracking_number"},
    "product_not_received": {"shipping_carrier", "shipping_date", "shipping_address", "access_activity_log"},
    "product_unacceptable": {"shipping_date", "refund_policy_disclosure", "refund_refusal_explanation"},
    "credit_not_processed": {"refund_policy_disclosure", "refund_refusal_explanation"},
    "duplicate": {"duplicate_charge_explanation", "shipping_date"},
    "subscription_canceled": {"cancellation_rebuttal"},
    "general": {"customer_purchase_ip", "refund_policy_disclosure", "shipping_date"},
}


# -- facts -------------------------------------------------------------------------------------------------------------


def test_every_fact_is_kept_once_by_what_it_speaks_of() -> None:
    kept = [one for message, at in heard() * 2 if (one := hearing.exhibit_of(message, at)) is not None]

    names = {(one.kind, one.ref) for one in kept}

    assert len(names) == len(heard())
    assert {kind for kind, _ in names} == {
        Kind.PLACED, Kind.PREPARED, Kind.SHIPPED, Kind.DELIVERED, Kind.DIGITAL, Kind.MAIL,
    }  # fmt: skip


def test_a_mail_of_no_order_proves_nothing() -> None:
    mail = notifications.NotificationSent(
        mail_id=UUID(int=1), kind="stock_low", ref="1", message_id="<1@x>", recipient="a@b.example"
    )

    assert hearing.exhibit_of(mail, hours(0)) is None
    assert hearing.exhibit_of(mail.model_copy(update={"order_id": ORDER_ID, "recipient": None}), hours(0)) is None


def test_a_charge_that_was_kept_is_read_as_it_was() -> None:
    kept = hearing.exhibit_of_charge(ORDER_ID, CHARGE)
    newer = replace(kept, body={**kept.body, "added_later": 1})

    assert hearing.charges_of([newer]) == [CHARGE]


# -- the pack ----------------------------------------------------------------------------------------------------------


def test_the_pack_has_who_bought_what_from_where_and_how_it_was_sent() -> None:
    pack = pack_of(case(refunds=[refund()]))

    assert pack.order is not None
    assert (pack.order.ip_address, pack.order.customer_email) == ("203.0.113.7", "ada@example.com")
    assert pack.order.shipping_address == ["山田太郎", "1-2-3 Marunouchi", "100-0005 Tōkyō", "JP"]
    assert [line.quantity for line in pack.order.lines] == [2, 1]
    assert [(charge.disputed, charge.three_d_secure, charge.cvc_check) for charge in pack.charges] == [
        (True, "authenticated", "pass")
    ]
    [parcel] = pack.parcels
    assert (parcel.carrier, parcel.tracking_number, parcel.delivered_at) == (
        "Post",
        "RR123",
        "2026-03-04T12:00:00.000Z",
    )
    assert [mail.recipient for mail in pack.mails] == [
        "Ada@example.com"
    ]  # what staff was written is none of the bank's
    assert [refund.stripe_refund_id for refund in pack.refunds] == ["re_1"]
    assert [event.at for event in pack.timeline] == sorted(event.at for event in pack.timeline)
    assert len(pack.timeline) == 10


def test_the_same_facts_in_any_order_make_the_same_pack() -> None:
    known = exhibits()
    first = pack_of(Case(DISPUTE, order(), known, (), POLICY))

    for seed in range(50):
        shuffled = known[:]
        random.Random(seed).shuffle(shuffled)
        assert pack_of(Case(DISPUTE, order(), shuffled, (), POLICY)) == first


@pytest.mark.parametrize(
    "changed",
    [
        case(refunds=[refund()]),
        case(reason="duplicate"),
        replace(case(), exhibits=exhibits()[1:]),
        replace(case(), dispute=replace(DISPUTE, amount_minor=5_999)),
        replace(case(), order=order(account="ada")),
        case(charges=[replace(CHARGE, cvc_check="fail")]),
    ],
)
def test_other_facts_have_another_digest(changed: Case) -> None:
    assert pack_of(changed).digest != pack_of(case()).digest


def test_what_stripe_says_of_our_evidence_is_no_fact_of_the_pack() -> None:
    asked_later = replace(DISPUTE, asked_at=hours(400), has_evidence=True, version=9, reminded_hours=24)

    assert pack_of(replace(case(), dispute=asked_later)).digest == pack_of(case()).digest


def test_a_payment_that_nobody_knows_has_a_pack_as_well() -> None:
    pack = pack_of(Case(replace(DISPUTE, order_id=None), None, (), (), POLICY))

    assert (pack.order, pack.charges) == (None, [])
    assert len(pack.timeline) == 1


def test_a_parcel_that_came_back_or_never_left_is_not_kept_quiet() -> None:
    [prepared] = [one for one in exhibits() if one.kind is Kind.PREPARED]
    known = [one for one in exhibits() if one.kind is not Kind.DELIVERED]
    returned = pack_of(replace(case(), exhibits=[*known, replace(prepared, kind=Kind.RETURNED, at=hours(90))]))
    left = [one for one in known if one.kind is not Kind.SHIPPED]
    canceled = pack_of(replace(case(), exhibits=[*left, replace(prepared, kind=Kind.CANCELED, at=hours(2))]))

    assert "came back on 2026-03-05" in returned.evidence["uncategorized_text"]
    assert canceled.parcels == []
    assert not {"shipping_date", "shipping_address", "shipping_carrier"} & canceled.evidence.keys()
    assert "The parcel was canceled before it left." in [event.what for event in canceled.timeline]


# -- texts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reason", "texts"), TEXTS.items())
def test_each_reason_has_the_texts_that_speak_to_it(reason: str, texts: set[str]) -> None:
    found = pack_of(case(reason=reason)).evidence

    assert found.keys() >= texts | {"customer_name", "product_description", "uncategorized_text"}
    assert found.keys() <= LIMITS.keys()


def test_a_reason_is_not_answered_with_what_does_not_speak_to_it() -> None:
    found = pack_of(case(reason="credit_not_processed")).evidence

    assert not found.keys() & {"customer_purchase_ip", "shipping_tracking_number", "duplicate_charge_id"}


def test_a_charge_beside_it_is_told_with_whether_it_was_given_back() -> None:
    other = replace(CHARGE, id="ch_2", payment_intent="pi_2", at=hours(0.4))
    back = refund(payment_intent="pi_2", stripe_refund_id="re_2")

    once = pack_of(case(reason="duplicate")).evidence
    kept = pack_of(case(reason="duplicate", charges=[CHARGE, other])).evidence
    returned = pack_of(case(reason="duplicate", charges=[CHARGE, other], refunds=[back])).evidence

    assert "duplicate_charge_id" not in once
    assert "was paid once" in once["duplicate_charge_explanation"]
    assert kept["duplicate_charge_id"] == "ch_2"
    assert "was not given back" in kept["duplicate_charge_explanation"]
    assert "was given back: re_2 on 2026-03-05" in returned["duplicate_charge_explanation"]


def test_what_is_said_of_refunds_is_true() -> None:
    nothing, done, refused = (
        pack_of(case(reason="credit_not_processed", refunds=refunds)).evidence["refund_refusal_explanation"]
        for refunds in ([], [refund()], [refund(state="rejected", stripe_refund_id=None)])
    )

    assert nothing == "No refund of this order was asked for before the dispute."
    assert done == "Refund re_1 was sent on 2026-03-05."
    assert refused == "A refund was asked for and refused on 2026-03-05."


def test_no_text_is_longer_than_it_may_be_and_all_together_are_not() -> None:
    many = [refund(refund_id=UUID(int=100 + n), stripe_refund_id=f"re_{n}") for n in range(2_000)]
    long = replace(case(reason="general", refunds=many), policy="x" * 100_000)

    found = pack_of(long).evidence

    assert all(len(text) <= LIMITS[name] for name, text in found.items())
    assert sum(map(len, found.values())) <= COMBINED
    assert found["refund_policy_disclosure"].endswith("…")


def test_words_of_ones_own_take_the_place_of_texts_or_take_them_away() -> None:
    texts = {"customer_name": "Ada", "shipping_carrier": "Post"}

    found = evidence.overridden(texts, {"customer_name": "Ada L.", "shipping_carrier": "", "service_date": "today"})

    assert found == {"customer_name": "Ada L.", "service_date": "today"}
    with pytest.raises(Refused) as refusal:
        evidence.overridden({}, {f"text{n}": "x" * 20_000 for n in range(8)})
    assert (refusal.value.code, refusal.value.status) == ("evidence_too_long", 422)


# -- handing in --------------------------------------------------------------------------------------------------------

PACK = pack_of(case())
SAM = Person("sam", "sam@shop.example")


def wanted(**changed: object) -> Wanted:
    known = Wanted("du_1", PACK.digest, {}, final=True, reason="It was delivered.", person=SAM)
    return replace(known, **changed)  # type: ignore[arg-type]


def handed_in(**changed: object) -> Submission:
    made = contesting.submission(UUID(int=1), wanted(), DISPUTE, PACK)
    return replace(made, **changed)  # type: ignore[arg-type]


INQUIRY = replace(DISPUTE, state=DisputeState.INQUIRY, stripe_status="warning_needs_response")


@pytest.mark.parametrize(
    ("dispute", "earlier", "code"),
    [
        (DISPUTE, [], None),
        (INQUIRY, [], None),
        (DISPUTE, [handed_in()], "evidence_submitted"),
        (DISPUTE, [handed_in(state=SubmissionState.TAKEN)], "evidence_submitted"),
        (DISPUTE, [handed_in(state=SubmissionState.REFUSED)], None),
        (DISPUTE, [handed_in(final=False)], "evidence_under_way"),
        (DISPUTE, [handed_in(final=False, state=SubmissionState.TAKEN)], None),
        (INQUIRY, [handed_in(inquiry=True, state=SubmissionState.TAKEN)], "evidence_submitted"),
        (DISPUTE, [handed_in(inquiry=True, state=SubmissionState.TAKEN)], None),  # escalated: the bank asks again
        (replace(DISPUTE, stripe_status="under_review", state=DisputeState.UNDER_REVIEW), [], "evidence_submitted"),
        (replace(INQUIRY, stripe_status="warning_under_review"), [], "evidence_submitted"),
        (replace(DISPUTE, state=DisputeState.LOST, stripe_status="lost"), [], "dispute_closed"),
        (replace(DISPUTE, state=DisputeState.CLOSED, stripe_status="warning_closed"), [], "dispute_closed"),
        (replace(DISPUTE, past_due=True), [], "too_late"),
        (replace(DISPUTE, due_by=hours(24 * 15)), [], "too_late"),
        (replace(DISPUTE, due_by=None), [], None),
    ],
)  # fmt: skip
def test_evidence_is_taken_once_and_in_time(dispute: object, earlier: list[Submission], code: str | None) -> None:
    assert isinstance(dispute, type(DISPUTE))
    if code is None:
        contesting.check(dispute, earlier, hours(24 * 15))
        return
    with pytest.raises(Refused) as refusal:
        contesting.check(dispute, earlier, hours(24 * 15))
    assert (refusal.value.code, refusal.value.status) == (code, 409)


def test_nothing_is_handed_in_that_nobody_looked_at() -> None:
    with pytest.raises(Refused) as refusal:
        contesting.submission(UUID(int=1), wanted(digest="0" * 64), DISPUTE, PACK)

    assert (refusal.value.code, refusal.value.status) == ("evidence_changed", 409)


def test_what_is_handed_in_is_what_was_looked_at_with_ones_own_words() -> None:
    made = contesting.submission(UUID(int=1), wanted(overrides={"customer_name": "Ada L."}), DISPUTE, PACK)

    assert made.evidence == {**PACK.evidence, "customer_name": "Ada L."}
    assert made.pack is not None
    assert made.pack.evidence == made.evidence
    assert made.pack.digest == PACK.digest
    assert Pack.model_validate(made.pack.model_dump(mode="json")) == made.pack


def test_after_a_day_stripe_is_asked_before_it_is_told() -> None:
    fresh = handed_in(first_asked_at=None)
    old = handed_in(first_asked_at=hours(0))

    assert not contesting.must_ask_first(fresh, hours(48))
    assert not contesting.must_ask_first(old, hours(23))
    assert contesting.must_ask_first(old, hours(23.1))


def test_an_answer_is_yes_or_no_with_a_code() -> None:
    assert contesting.answered(handed_in(), None).state is SubmissionState.TAKEN
    refused = contesting.answered(handed_in(), "resource_missing")
    assert (refused.state, refused.refusal) == (SubmissionState.REFUSED, "resource_missing")


def test_amounts_are_told_in_the_currencys_own_decimals() -> None:
    told = [exhibiting.in_words(1234, currency) for currency in ("usd", "jpy", "kwd", "xxx")]

    assert told == ["USD 12.34", "JPY 1234", "KWD 1.234", "1234 minor units of XXX"]
