"""Saved methods that are charged again after soft declines: in whatever order it is heard, it ends alike."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from checkout.decide import retrying
from checkout.decide.charging import charge_of
from checkout.decide.declines import PROBLEMS, SOFT, UNSAID, is_soft
from checkout.decide.learning import Account, Learned, learn
from checkout.decide.order import STRENGTH, Say, coupon_use, may_end
from checkout.decide.recovering import Links
from checkout.decide.saying import message_for
from checkout.model.customers import Method
from checkout.model.facts import EndAsked, Fact, GivenUp, IntentDeclined, IntentFetched, IntentSucceeded, OrderEnded
from checkout.model.orders import State
from checkout.settings import Settings
from payments_shared.contracts import checkout as said
from tests.checkout.test_charge_fold import charged_order
from tests.checkout.test_order_fold import doublings, kept

AT = datetime(2026, 1, 1, tzinfo=UTC)
HOUR: Final = 3600
SCHEDULE: Final = (HOUR, 24 * HOUR)
CAPTURED = IntentSucceeded("pi_1", 3600, "usd")
POOR_1, POOR_2, POOR_3 = (IntentDeclined("pi_1", f"ch_{n}", "insufficient_funds") for n in (1, 2, 3))
LOST = IntentDeclined("pi_1", "ch_4", "lost_card")
ASKED = IntentDeclined("pi_1", "ch_5", "authentication_required")
WAITS = IntentFetched("pi_1", "requires_action")
CLOSED = IntentFetched("pi_1", "canceled")
NO_STOCK = GivenUp("out_of_stock")
UNWANTED = EndAsked("buyer")
ENDED = OrderEnded("superseded")

HISTORIES: Mapping[str, tuple[tuple[Fact, ...], State]] = {
    "declined for now": ((POOR_1,), State.DECLINED),
    "declined for now, then paid": ((POOR_1, CAPTURED), State.PAID),
    "declined twice, then paid": ((POOR_1, POOR_2, CAPTURED), State.PAID),
    "declined as often as it is tried": ((POOR_1, POOR_2, POOR_3), State.DECLINED),
    "declined as often as it is tried, and closed": ((POOR_1, POOR_2, POOR_3, CLOSED), State.SETTLEMENT_FAILED),
    "declined for good": ((LOST, CLOSED), State.SETTLEMENT_FAILED),
    "declined for now, then for good": ((POOR_1, LOST, CLOSED), State.SETTLEMENT_FAILED),
    "declined for now, then the bank asks": ((POOR_1, ASKED, CLOSED), State.SETTLEMENT_FAILED),
    "the bank asks, and its owner pays": ((ASKED, WAITS, CAPTURED), State.PAID),
    "the bank asks, and nobody answers": ((ASKED, WAITS, CLOSED), State.EXPIRED),
    "out of stock before the next attempt": ((POOR_1, NO_STOCK, CLOSED), State.SETTLEMENT_FAILED),
    "out of stock, but an attempt was quicker": ((POOR_1, NO_STOCK, CAPTURED), State.PAID),
    "unwanted before the next attempt": ((POOR_1, UNWANTED, CLOSED), State.CANCELED),
    "unwanted, but an attempt was quicker": ((POOR_1, UNWANTED, CAPTURED), State.PAID),
    "unwanted, and then its goods are gone": ((POOR_1, UNWANTED, CLOSED, NO_STOCK), State.CANCELED),
    "ended by us": ((POOR_1, ENDED, CLOSED), State.CANCELED),
}


def arrive(facts: tuple[Fact, ...], **given: Any) -> Iterator[Learned]:
    account = Account(charged_order(retry_seconds=SCHEDULE, **given), {}, frozenset())
    for minute, fact in enumerate(facts):
        if isinstance(fact, EndAsked) and not may_end(account.order):
            continue
        learned = learn(account, fact, now=AT + timedelta(minutes=minute), mismatch_seconds=60)
        if learned is not None:
            account = learned.account
            yield learned


def every_arrival(name: str) -> Iterator[list[Learned]]:
    facts, _ = HISTORIES[name]
    for once in itertools.permutations(facts):
        yield from (list(arrive(doubled)) for doubled in doublings(once))


@pytest.mark.parametrize("name", HISTORIES)
def test_every_permutation_with_duplicates_ends_alike_and_moves_only_up(name: str) -> None:
    _, end = HISTORIES[name]

    for moments in every_arrival(name):
        ranks = [STRENGTH.index(moment.account.order.state) for moment in moments]
        told = [key for moment in moments for key in moment.due]

        if UNWANTED in HISTORIES[name][0] and UNWANTED not in moments[-1].account.facts.values():
            continue  # its buyer was told that he comes too late
        assert moments[-1].account.order.state is end
        assert ranks == sorted(ranks)
        assert len(told) == len(set(told))


@pytest.mark.parametrize("name", [name for name, (_, end) in HISTORIES.items() if end is State.SETTLEMENT_FAILED])
def test_what_failed_and_is_taken_up_again_stays_failed(name: str) -> None:
    *_, last = arrive(HISTORIES[name][0])

    after = learn(last.account, ENDED, now=AT, mismatch_seconds=60)

    assert after is not None
    assert after.account.order.state is State.SETTLEMENT_FAILED


@pytest.mark.parametrize("name", HISTORIES)
def test_an_attempt_is_due_only_while_the_order_waits_and_comes_after_all_that_were_made(name: str) -> None:
    for moments in every_arrival(name):
        for moment in moments:
            order, known = moment.account.order, set(moment.account.facts.values())
            declined = known & {POOR_1, POOR_2, POOR_3}
            over = known & {CAPTURED, LOST, CLOSED, NO_STOCK, UNWANTED, ENDED, ASKED} or len(declined) > len(SCHEDULE)

            assert (order.retry_at is not None) == (bool(declined) and not over)
            if order.retry_at is not None:
                assert order.retry_attempt == len(declined)


@pytest.mark.parametrize("name", HISTORIES)
def test_what_is_given_up_is_closed_at_stripe_and_said_only_then(name: str) -> None:
    for moments in every_arrival(name):
        known = {*moments[-1].account.facts.values()}
        told = [key for moment in moments for key in moment.due]
        open_still = CLOSED not in known and CAPTURED not in known
        over = known & {LOST, NO_STOCK, ENDED} or {POOR_1, POOR_2, POOR_3} <= known or {POOR_1, ASKED} <= known

        if open_still and over:
            assert kept(tuple(told), Say.CANCEL_INTENT)
        assert (Say.FINAL in told) == (moments[-1].account.order.state is State.SETTLEMENT_FAILED)
        assert not kept(tuple(told), Say.DECLINED), "a page's decline: its hold would end in ten minutes"


def test_each_attempt_is_due_so_long_after_the_decline_before_it() -> None:
    first, second, third = arrive((POOR_1, POOR_2, POOR_3))

    assert first.account.order.retry_at == AT + timedelta(hours=1)
    assert second.account.order.retry_at == AT + timedelta(minutes=1, hours=24)
    assert (third.account.order.retry_at, third.seen.charge.gives_up) == (None, True)


def test_each_decline_is_told_with_the_time_of_the_next_attempt() -> None:
    links, told = Links(b"s" * 32, 60), []
    for learned in arrive((POOR_1, POOR_2)):
        (key,) = learned.due
        told.append(message_for(key, learned.account.order, learned.seen, now=AT, hold_until=AT, links=links))

    assert [type(message) for message in told] == [said.OrderPaymentRetrying] * 2
    assert [
        (message.attempt, message.next_attempt_at) for message in told if isinstance(message, said.OrderPaymentRetrying)
    ] == [
        (0, AT + timedelta(hours=1)),
        (1, AT + timedelta(minutes=1, hours=24)),
    ]


def test_a_coupon_is_held_while_attempts_are_to_come() -> None:
    assert [coupon_use(learned.seen) for learned in arrive((POOR_1, POOR_2, POOR_3, CLOSED))] == [
        "held",
        "held",
        "held",
        "released",
    ]


def test_without_a_schedule_the_first_decline_is_the_end() -> None:
    charge = charge_of(charged_order(), (POOR_1,))

    assert (charge.gives_up, charge.waits) == (True, False)


# -- which declines pass -----------------------------------------------------------------------------------------------


def test_only_declines_that_pass_are_soft() -> None:
    assert {code for code in PROBLEMS if is_soft(code, None)} == SOFT
    assert not SOFT & UNSAID
    assert set(PROBLEMS) >= SOFT | UNSAID


@pytest.mark.parametrize(
    ("code", "advice", "soft"),
    [
        ("insufficient_funds", None, True),
        ("insufficient_funds", "try_again_later", True),
        ("insufficient_funds", "do_not_try_again", False),
        ("insufficient_funds", "confirm_card_data", False),
        ("do_not_honor", None, False),
        ("do_not_honor", "try_again_later", True),
        ("generic_decline", "try_again_later", True),
        (None, "try_again_later", True),
        (None, None, False),
        ("lost_card", "try_again_later", False),
        ("stolen_card", None, False),
        ("expired_card", "try_again_later", False),
        ("do_not_try_again", None, False),
        ("a_code_of_tomorrow", None, False),
    ],
)
def test_the_advice_of_the_bank_comes_first(code: str | None, advice: str | None, soft: bool) -> None:
    assert is_soft(code, advice) is soft


def test_only_cards_are_charged_again_and_only_where_that_is_wanted() -> None:
    card = Method("pm_1", "cus_1", "card", "visa", "4242", 12, 2034, added_at=AT)
    account = replace(card, type="sepa_debit")

    assert retrying.schedule_of(card, SCHEDULE, wanted=True) == SCHEDULE
    assert retrying.schedule_of(card, SCHEDULE, wanted=False) == ()
    assert retrying.schedule_of(account, SCHEDULE, wanted=True) == ()


@pytest.mark.parametrize("text", ["59", "3600,x", "2592000,60", ",".join(["60"] * 15)])
def test_a_schedule_that_no_network_allows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="retry_seconds"):
        Settings.model_validate({"retry_seconds": text})


def test_an_attempt_of_which_nothing_new_is_heard_is_not_made_for_ever() -> None:
    """Where a rule of Stripe's says no, no bank is asked, and the last charge is still the one that was declined."""
    (first,) = [learned.account.order for learned in arrive((POOR_1,))]
    *_, second = [learned.account.order for learned in arrive((POOR_1, POOR_2))]
    *_, paid = [learned.account.order for learned in arrive((POOR_1, CAPTURED))]
    *_, given_up = [learned.account.order for learned in arrive((POOR_1, GivenUp("not_charged")))]

    assert list(arrive((POOR_1, POOR_1)))[1:] == [], "it is known already"
    assert retrying.is_fruitless(first, first)
    assert not any(retrying.is_fruitless(first, after) for after in (second, paid, given_up))
    assert given_up.retry_at is None
