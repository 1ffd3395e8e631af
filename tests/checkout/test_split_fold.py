"""Payments with two methods: whatever is heard of their intents in whatever order, both are taken or neither stays."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from checkout.decide import order as rules
from checkout.decide import splitting
from checkout.decide.declines import advice_for
from checkout.decide.learning import Account, Learned, learn
from checkout.decide.order import STRENGTH, Say
from checkout.decide.recovering import Links
from checkout.decide.saying import message_for
from checkout.decide.splitting import Step, amounts_of, next_step
from checkout.gateway import attempt_in
from checkout.model.customers import Method, Saved
from checkout.model.facts import (
    EndAsked,
    Fact,
    FraudWarned,
    GivenUp,
    IntentAuthorized,
    IntentDeclined,
    IntentFetched,
    IntentSucceeded,
    OrderEnded,
)
from checkout.model.orders import State
from checkout.model.splits import Leg, Part, Split, Standing
from payments_shared.contracts import checkout as said
from payments_shared.errors import Refused
from tests.checkout.test_charge_fold import an_intent, charged_order
from tests.checkout.test_order_fold import doublings, kept, ranks_told

AT = datetime(2026, 1, 1, tzinfo=UTC)
A, B = "pi_a", "pi_b"
SPLIT: Final = Split((Leg("pm_a", 1600), Leg("pm_b", 2000)))
A_HELD, B_HELD = IntentAuthorized(A, 1600, 0), IntentAuthorized(B, 2000, 1)
A_TAKEN, B_TAKEN = IntentSucceeded(A, 1600, "usd", 0), IntentSucceeded(B, 2000, "usd", 1)
A_DECLINED = IntentDeclined(A, "ch_a", "insufficient_funds", leg=0)
B_DECLINED = IntentDeclined(B, "ch_b", "lost_card", leg=1)
B_ASKED = IntentDeclined(B, "ch_b", "authentication_required", leg=1)
A_SLOW = IntentFetched(A, "processing", 0)
A_CLOSED, B_CLOSED = IntentFetched(A, "canceled", 0), IntentFetched(B, "canceled", 1)
THIRD = IntentSucceeded("pi_c", 3600, "usd")
TWIN_HELD, TWIN_TAKEN = IntentAuthorized("pi_twin", 1600, 0), IntentSucceeded("pi_twin", 1600, "usd", 0)
TWIN_CLOSED = IntentFetched("pi_twin", "canceled", 0)
UNWANTED, LATE, NO_STOCK = EndAsked("buyer"), GivenUp("deadline"), OrderEnded("hold_failed")
WARNED = FraudWarned("issfr_1", B, "made_with_stolen_card", shipped=False, refund_up_to_minor=5000)

HISTORIES: Mapping[str, tuple[tuple[Fact, ...], State]] = {
    "one is authorized": ((A_HELD,), State.PENDING),
    "both are authorized": ((A_HELD, B_HELD), State.PROCESSING),
    "one is captured": ((A_HELD, B_HELD, A_TAKEN), State.PROCESSING),
    "both are captured": ((A_HELD, B_HELD, A_TAKEN, B_TAKEN), State.PAID),
    "both are captured, heard of by that alone": ((A_TAKEN, B_TAKEN), State.PAID),
    "the first is declined": ((A_DECLINED, A_CLOSED), State.SETTLEMENT_FAILED),
    "the second is declined": ((A_HELD, B_DECLINED), State.DECLINED),
    "the second is declined, and both are closed": ((A_HELD, B_DECLINED, A_CLOSED, B_CLOSED), State.SETTLEMENT_FAILED),
    "the second bank asks for its owner": ((A_HELD, B_ASKED, A_CLOSED, B_CLOSED), State.SETTLEMENT_FAILED),
    "unwanted when one is authorized": ((A_HELD, UNWANTED, A_CLOSED), State.CANCELED),
    "unwanted when nobody knows of the second": ((A_HELD, UNWANTED, A_CLOSED, B_HELD), State.CANCELED),
    "unwanted, and the second was declined": ((A_HELD, UNWANTED, A_CLOSED, B_DECLINED), State.CANCELED),
    "unwanted, and Stripe took it for nobody's": ((A_HELD, UNWANTED, A_CLOSED, LATE), State.CANCELED),
    "a capture that takes a while": ((A_HELD, B_HELD, A_SLOW), State.PROCESSING),
    "nobody went on with it": ((A_HELD, LATE, A_CLOSED), State.SETTLEMENT_FAILED),
    "ended by us": ((A_HELD, NO_STOCK, A_CLOSED), State.CANCELED),
    "the second is canceled at Stripe": ((A_HELD, B_HELD, A_TAKEN, B_CLOSED), State.SETTLEMENT_FAILED),
    "a third payment": ((A_TAKEN, B_TAKEN, THIRD), State.PAID),
}


def arrive(facts: tuple[Fact, ...]) -> Iterator[Learned]:
    account = Account(charged_order(split=SPLIT, split_open=True), {}, frozenset())
    for fact in facts:
        if isinstance(fact, OrderEnded | EndAsked) and not rules.may_end(account.order):
            continue
        learned = learn(account, fact, now=AT, mismatch_seconds=60)
        if learned is not None:
            account = learned.account
            yield learned


def every_arrival(name: str) -> Iterator[list[Learned]]:
    facts, _ = HISTORIES[name]
    for once in itertools.permutations(facts):
        yield from (list(arrive(doubled)) for doubled in doublings(once))


def told_in(moments: list[Learned]) -> tuple[str, ...]:
    return tuple(key for moment in moments for key in moment.due)


@pytest.mark.parametrize("name", HISTORIES)
def test_every_permutation_with_duplicates_ends_alike_and_moves_only_up(name: str) -> None:
    _, end = HISTORIES[name]

    for moments in every_arrival(name):
        ranks = [STRENGTH.index(moment.account.order.state) for moment in moments]
        told = told_in(moments)

        if UNWANTED not in moments[-1].account.facts.values() and UNWANTED in HISTORIES[name][0]:
            continue  # its buyer was told that he comes too late
        assert moments[-1].account.order.state is end
        assert ranks == sorted(ranks)
        assert len(told) == len(set(told))
        assert ranks_told(told) == sorted(ranks_told(told))


@pytest.mark.parametrize("name", HISTORIES)
def test_what_was_taken_pays_the_order_or_goes_back_once_and_nothing_else_does(name: str) -> None:
    for moments in every_arrival(name):
        last, told = moments[-1], told_in(moments)
        taken = {f.payment_intent for f in last.account.facts.values() if isinstance(f, IntentSucceeded)}
        back = [key.split(":")[0] for key in kept(told, Say.REFUND)]
        paid = {A, B} if kept(told, Say.PAID) else set()

        assert len(back) == len(set(back))
        assert not paid & {*back}
        if last.account.order.state is not State.PROCESSING:
            assert paid | {*back} == taken
        assert not kept(told, Say.FETCH_SESSION), "no session is behind it"
        assert last.account.order.held_reason is None


@pytest.mark.parametrize("name", HISTORIES)
def test_what_is_authorized_for_nothing_is_canceled_at_stripe(name: str) -> None:
    for moments in every_arrival(name):
        split = moments[-1].account.order.split
        assert split is not None
        to_cancel = {
            leg.payment_intent for leg in split.legs if leg.standing in (Standing.AUTHORIZED, Standing.REFUSED)
        }
        canceled = {key.split(":")[0] for key in kept(told_in(moments), Say.CANCEL_INTENT)}

        if split.releasing:
            assert to_cancel <= canceled
            assert moments[-1].account.order.split_open == bool(to_cancel)
        else:
            assert not canceled


def test_the_steps_of_a_payment_that_goes_well_and_of_one_that_does_not() -> None:
    def steps(*facts: Fact) -> list[Step | None]:
        splits = [SPLIT, *(learned.account.order.split for learned in arrive(facts))]
        return [next_step(split) for split in splits if split is not None]

    assert steps(A_HELD, B_HELD, A_TAKEN, B_TAKEN) == [
        Step("authorize", 0),
        Step("authorize", 1),
        Step("capture", 0),
        Step("capture", 1),
        None,
    ]
    assert steps(A_HELD, B_DECLINED, A_CLOSED, B_CLOSED)[2:] == [Step("cancel", 0), Step("cancel", 1), None]
    assert steps(A_DECLINED, A_CLOSED)[1:] == [Step("cancel", 0), None], "the second is never asked for"
    assert steps(A_HELD, B_HELD, A_TAKEN, B_CLOSED)[-1] is None


def test_an_intent_that_may_exist_is_looked_for_before_the_rest_is_released() -> None:
    split = Split((Leg("pm_a", 1600, A, Standing.AUTHORIZED), Leg("pm_b", 2000, asked=True)), releasing=True)

    assert next_step(split) == Step("find", 1)


@pytest.mark.parametrize("name", HISTORIES)
def test_what_failed_and_is_taken_up_again_stays_failed(name: str) -> None:
    for moments in every_arrival(name):
        before = moments[-1].account
        if before.order.state is State.SETTLEMENT_FAILED:
            after = learn(before, OrderEnded("superseded"), now=AT, mismatch_seconds=60)
            assert after is None or after.account.order.state is State.SETTLEMENT_FAILED


def test_what_was_authorized_beside_the_parts_is_canceled_at_stripe_and_what_it_took_goes_back() -> None:
    """Stripe had made the intent of a part in spite of an error, so another was made."""

    def told(*facts: Fact) -> set[str]:
        return {key for learned in arrive(facts) for key in learned.due}

    assert f"{Say.CANCEL_INTENT}pi_twin:release" in told(A_HELD, TWIN_HELD, B_HELD)
    assert f"{Say.CANCEL_INTENT}pi_twin:release" in told(A_HELD, B_HELD, A_TAKEN, B_TAKEN, TWIN_HELD)
    assert f"{Say.CANCEL_INTENT}pi_twin:release" not in told(A_HELD, TWIN_CLOSED, TWIN_HELD)
    assert f"{Say.REFUND}pi_twin:canceled_order" in told(A_HELD, B_DECLINED, A_CLOSED, TWIN_TAKEN)
    assert f"{Say.REFUND}pi_twin:surplus_payment" in told(A_TAKEN, B_TAKEN, TWIN_TAKEN)


def test_a_payment_is_given_up_only_before_its_money_is_on_its_way() -> None:
    def may(*facts: Fact) -> bool:
        return splitting.may_be_given_up(list(arrive(facts))[-1].account.order)

    assert may(A_HELD)
    assert not may(A_HELD, B_HELD), "both are captured"
    assert not may(A_HELD, UNWANTED), "it is released already"
    assert not may(A_HELD, UNWANTED, A_CLOSED)


def test_a_bank_that_asks_for_the_owner_of_one_of_two_cards_is_no_reason_to_try_both_again() -> None:
    *_, both = arrive((A_HELD, B_ASKED, A_CLOSED, B_CLOSED))
    alone = replace(both.account.order, split=None)

    told, told_of_one = advice_for(both.account.order), advice_for(alone)

    assert told is not None
    assert told_of_one is not None
    assert (told.code, told.retryable) == ("authenticate", False)
    assert "all of it with one card" in told.advice
    assert (told_of_one.code, told_of_one.retryable) == ("authenticate", True)


def test_a_paid_order_is_said_with_both_payments() -> None:
    *_, learned = arrive((A_HELD, B_HELD, A_TAKEN, B_TAKEN))
    (key,) = learned.due

    message = message_for(key, learned.account.order, learned.seen, now=AT, hold_until=AT, links=Links(b"s" * 32, 60))

    assert isinstance(message, said.OrderPaid)
    assert message.payments == (
        said.Payment(payment_intent=A, amount_minor=1600, currency="usd"),
        said.Payment(payment_intent=B, amount_minor=2000, currency="usd"),
    )
    assert message.total_minor == 3600


@pytest.mark.parametrize(
    ("facts", "returned_minor"), [((A_HELD, B_HELD, A_TAKEN, B_CLOSED), 1600), ((A_HELD, B_DECLINED, A_CLOSED), 0)]
)
def test_a_failure_says_what_one_card_was_charged_before_the_other_failed(
    facts: tuple[Fact, ...], returned_minor: int
) -> None:
    *_, learned = arrive(facts)
    now, links = {"now": AT, "hold_until": AT}, Links(b"s" * 32, 60)

    message = message_for(Say.FINAL, learned.account.order, learned.seen, **now, links=links)

    assert isinstance(message, said.OrderPaymentFailed)
    assert (message.split, message.returned_minor) == (True, returned_minor)


@pytest.mark.parametrize("facts", list(itertools.permutations((A_TAKEN, B_TAKEN, WARNED))))
def test_a_warning_of_one_part_gives_both_back_with_their_amounts(facts: tuple[Fact, ...]) -> None:
    due = [
        message_for(key, learned.account.order, learned.seen, now=AT, hold_until=AT, links=Links(b"s" * 32, 60))
        for learned in arrive(facts)
        for key in learned.due
    ]

    back = [(one.payment_intent, one.amount_minor) for one in due if isinstance(one, said.OrderRefundDue)]
    assert back == [(A, 1600), (B, 2000)]


def test_a_part_that_pays_something_else_is_held_like_any_payment_that_does_not_match() -> None:
    *_, learned = arrive((A_TAKEN, IntentSucceeded(B, 1900, "usd", 1)))

    assert learned.account.order.held_reason == "amount_mismatch"


# -- what may be asked for ---------------------------------------------------------------------------------------------


def parts(first: int | None, second: int | None) -> tuple[Part, ...]:
    return Part("pm_a", first), Part("pm_b", second)


@pytest.mark.parametrize(
    ("wished", "currency", "amounts"),
    [
        (parts(1600, None), "usd", (1600, 2000)),
        (parts(None, 50), "usd", (3550, 50)),
        (parts(1600, 2000), "usd", (1600, 2000)),
        (parts(50, None), "jpy", (50, 3550)),
    ],
)
def test_the_parts_are_the_total(wished: tuple[Part, ...], currency: str, amounts: tuple[int, ...]) -> None:
    assert amounts_of(wished, 3600, currency) == amounts


@pytest.mark.parametrize(
    ("wished", "code"),
    [
        (parts(1600, 2001), "split_not_total"),
        (parts(None, None), "split_not_total"),
        (parts(49, None), "split_part_too_small"),
        (parts(3600, None), "split_part_too_small"),
        (parts(3700, None), "split_part_too_small"),
        (parts(None, 3551), "split_part_too_small"),
    ],
)
def test_parts_that_stripe_would_not_charge_are_refused(wished: tuple[Part, ...], code: str) -> None:
    with pytest.raises(Refused) as refused:
        amounts_of(wished, 3600, "usd")

    assert (refused.value.code, refused.value.status) == (code, 422)


def test_two_different_cards_are_needed() -> None:
    card = Saved(Method("pm_a", "cus_1", "card", "visa", "4242", 12, 2034, added_at=AT))
    account = Saved(Method("pm_b", "cus_1", "sepa_debit", None, "3000", None, None, added_at=AT))

    codes = []
    for chosen in ((card, card), (card, account)):
        with pytest.raises(Refused) as refused:
            splitting.check_methods(chosen)
        codes.append((refused.value.code, refused.value.status))
    assert codes == [("split_same_method", 422), ("payment_method_not_splittable", 409)]


def test_an_intent_of_a_part_asserts_which() -> None:
    metadata = {"order_id": "ord_1", "leg": "1"}
    error = {"code": "card_declined", "decline_code": "lost_card"}

    facts = [
        attempt_in(an_intent("requires_capture", id=B, amount=2000, metadata=metadata)).fact,
        attempt_in(an_intent("succeeded", id=B, amount_received=2000, metadata=metadata)).fact,
        attempt_in(an_intent("canceled", id=B, metadata=metadata)).fact,
        attempt_in(
            an_intent(
                "requires_payment_method", id=B, latest_charge="ch_b", last_payment_error=error, metadata=metadata
            )
        ).fact,
    ]

    assert facts == [B_HELD, B_TAKEN, B_CLOSED, B_DECLINED]
