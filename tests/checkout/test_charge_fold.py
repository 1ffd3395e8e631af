"""Orders that are paid with a saved method: what is heard of their intents may come in any order, and ends alike."""

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checkout.decide import charging
from checkout.decide import order as rules
from checkout.decide.learning import Account, learn
from checkout.decide.order import STRENGTH, Say, coupon_use
from checkout.decide.recovering import Links
from checkout.decide.saying import message_for
from checkout.gateway import attempt_in
from checkout.model.carts import Quote
from checkout.model.customers import Method, Saved
from checkout.model.delivery import Delivery, Recipient, Tax, TaxSource
from checkout.model.facts import (
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
from payments_shared.contracts import checkout as said
from payments_shared.errors import Refused
from tests.checkout.test_order_fold import an_order, doublings, kept, ranks_told

AT = datetime(2026, 1, 1, tzinfo=UTC)
CAPTURED = IntentSucceeded("pi_1", 3600, "usd")
LESS = IntentSucceeded("pi_1", 3500, "usd")
OTHER_MONEY = IntentSucceeded("pi_1", 3600, "eur")
TWIN = IntentSucceeded("pi_2", 3600, "usd")
ASKED = IntentDeclined("pi_1", "ch_1", "authentication_required")
WAITS = IntentFetched("pi_1", "requires_action")
DECLINED = IntentDeclined("pi_1", "ch_2", "insufficient_funds")
UNANSWERED = IntentDeclined("pi_1", "evt_1", "payment_intent_authentication_failure")
ON_ITS_WAY = IntentFetched("pi_1", "processing")
CLOSED = IntentFetched("pi_1", "canceled")
NO_STOCK = OrderEnded("out_of_stock")
UNWANTED = EndAsked("buyer")
RELEASED = HoldEnded(released=True)
LAPSED = HoldEnded(released=False)

HISTORIES: dict[str, tuple[tuple[Fact, ...], State]] = {
    "paid": ((CAPTURED,), State.PAID),
    "the bank asks": ((ASKED, WAITS), State.PENDING),
    "the bank asks and the owner answers": ((ASKED, WAITS, CAPTURED), State.PAID),
    "the bank asks and nobody answers": ((ASKED, WAITS, CLOSED), State.EXPIRED),
    "the bank asks and the owner fails": ((ASKED, WAITS, UNANSWERED), State.DECLINED),
    "the owner fails and it is closed": ((ASKED, WAITS, UNANSWERED, CLOSED), State.SETTLEMENT_FAILED),
    "declined": ((DECLINED,), State.DECLINED),
    "declined and closed": ((DECLINED, CLOSED), State.SETTLEMENT_FAILED),
    "a debit on its way": ((ON_ITS_WAY,), State.PROCESSING),
    "a debit that arrives": ((ON_ITS_WAY, CAPTURED), State.PAID),
    "a debit that fails": ((ON_ITS_WAY, DECLINED), State.PROCESSING),
    "a debit that fails and is closed": ((ON_ITS_WAY, DECLINED, CLOSED), State.SETTLEMENT_FAILED),
    "a debit of which only its end is heard": ((ON_ITS_WAY, CLOSED), State.SETTLEMENT_FAILED),
    "unwanted while the bank asks": ((ASKED, WAITS, UNWANTED, CLOSED), State.CANCELED),
    "unwanted, and then declined": ((UNWANTED, CLOSED, DECLINED), State.CANCELED),
    "ended, and then declined": ((NO_STOCK, CLOSED, DECLINED), State.CANCELED),
    "unwanted, but paid before": ((WAITS, UNWANTED, CAPTURED), State.PAID),
    "ended, and its intent is closed": ((NO_STOCK, WAITS, CLOSED), State.CANCELED),
    "ended, and its intent is open": ((NO_STOCK, WAITS), State.CANCELED),
    "ended, then late money": ((NO_STOCK, CAPTURED), State.PAID),
    "less than was asked for": ((LESS,), State.PAID),
    "other money than was asked for": ((OTHER_MONEY,), State.PAID),
    "less, and a person lets it pass": ((LESS, RELEASED), State.PAID),
    "less, and nobody does": ((LESS, LAPSED), State.PAID),
    "charged twice": ((CAPTURED, TWIN), State.PAID),
    "declined, and charged by another intent": ((DECLINED, TWIN), State.PAID),
    "a session in its name explains nothing": (
        (CAPTURED, SessionSeen("cs_1", "expired", "unpaid")),
        State.PAID,
    ),
}


@dataclass(frozen=True)
class Moment:
    """An order after one fact."""

    order: Order
    known: frozenset[Fact]
    seen: rules.View
    said: tuple[str, ...]


def charged_order(**given: Any) -> Order:
    return an_order(**{"stripe_session_id": None, "saved_method": "pm_1", **given})


def arrive(facts: tuple[Fact, ...]) -> list[Moment]:
    account = Account(charged_order(), {}, frozenset())
    moments: list[Moment] = []
    said_so_far: list[str] = []
    for fact in facts:
        if isinstance(fact, OrderEnded | EndAsked) and not rules.may_end(account.order):
            continue
        learned = learn(account, fact, now=AT, mismatch_seconds=60)
        if learned is None:
            continue
        account = learned.account
        said_so_far += learned.due
        moments.append(Moment(account.order, frozenset(account.facts.values()), learned.seen, tuple(said_so_far)))
    return moments


def every_arrival(name: str) -> list[list[Moment]]:
    facts, _ = HISTORIES[name]
    return [arrive(doubled) for once in itertools.permutations(facts) for doubled in doublings(once)]


def money_of(moment: Moment) -> dict[str, int]:
    return {f.payment_intent: f.amount_minor for f in moment.known if isinstance(f, IntentSucceeded)}


@pytest.mark.parametrize("name", HISTORIES)
def test_every_permutation_with_duplicates_ends_alike(name: str) -> None:
    facts, end = HISTORIES[name]
    wishes = {fact for fact in facts if isinstance(fact, OrderEnded | EndAsked)}

    for moments in every_arrival(name):
        if wishes <= moments[-1].known:  # else whoever wanted to end it was told that he comes too late
            assert moments[-1].order.state is end


@pytest.mark.parametrize("wish", [UNWANTED, NO_STOCK])
@pytest.mark.parametrize("facts", list(itertools.permutations((CLOSED, DECLINED, ON_ITS_WAY))))
def test_who_was_told_that_his_order_is_canceled_is_not_told_that_its_payment_failed(
    wish: Fact, facts: tuple[Fact, ...]
) -> None:
    canceled_first = wish is NO_STOCK or facts.index(CLOSED) < facts.index(ON_ITS_WAY)

    ends = [key for key in arrive((wish, *facts))[-1].said if key in (Say.CANCELED, Say.FINAL)]

    assert ends == [Say.CANCELED if canceled_first else Say.FINAL]


@pytest.mark.parametrize("name", HISTORIES)
def test_an_order_only_moves_up_and_nothing_is_said_twice_or_taken_back(name: str) -> None:
    for moments in every_arrival(name):
        ranks = [STRENGTH.index(moment.order.state) for moment in moments]
        told = ranks_told(moments[-1].said)

        assert ranks == sorted(ranks)
        assert len(moments[-1].said) == len(set(moments[-1].said))
        assert told == sorted(told)
        assert not told or told[-1] <= ranks[-1]


@pytest.mark.parametrize("name", HISTORIES)
def test_every_amount_that_was_taken_is_for_the_order_or_goes_back_once(name: str) -> None:
    for moments in every_arrival(name):
        last = moments[-1]
        paid, back = kept(last.said, Say.PAID), kept(last.said, Say.REFUND)
        waits = last.order.held_reason is not None

        assert len(paid) <= 1
        assert sorted([*paid, *(key.split(":")[0] for key in back)]) == sorted(
            intent for intent in money_of(last) if not (waits and intent == last.order.stripe_payment_intent)
        )
        assert not kept(last.said, Say.FETCH_SESSION), "no session is behind it"


@pytest.mark.parametrize("name", HISTORIES)
def test_an_intent_that_nobody_may_pay_is_canceled_at_stripe(name: str) -> None:
    """A decline leaves it open, and so does the order's end: until it is closed, somebody with its secret could pay."""
    for moments in every_arrival(name):
        for moment in moments:
            refused = any(isinstance(f, IntentDeclined) and not f.asks_for_owner for f in moment.known)
            wrong = refused or (NO_STOCK in moment.known and moment.order.state is not State.PAID)
            still_open = CLOSED not in moment.known and not money_of(moment) and moment.order.stripe_payment_intent
            if wrong and still_open:
                assert kept(moment.said, Say.CANCEL_INTENT)
        unwanted = {*HISTORIES[name][0]} & {DECLINED, UNANSWERED, NO_STOCK}
        assert unwanted or not kept(moments[-1].said, Say.CANCEL_INTENT)


def test_what_is_said_of_a_paid_order_is_what_was_ordered() -> None:
    learned = learn(Account(charged_order(), {}, frozenset()), CAPTURED, now=AT, mismatch_seconds=60)
    assert learned is not None
    (key,) = learned.due

    message = message_for(key, learned.account.order, learned.seen, now=AT, hold_until=AT, links=Links(b"s" * 32, 60))

    assert isinstance(message, said.OrderPaid)
    assert message.payments == (said.Payment(payment_intent="pi_1", amount_minor=3600, currency="usd"),)
    assert (message.subtotal_minor, message.total_minor, message.paid_at) == (3600, 3600, AT)


def test_the_command_to_cancel_names_the_intent() -> None:
    learned = learn(Account(charged_order(), {}, frozenset()), DECLINED, now=AT, mismatch_seconds=60)
    assert learned is not None
    key = next(key for key in learned.due if key.startswith(Say.CANCEL_INTENT))

    message = message_for(key, learned.account.order, learned.seen, now=AT, hold_until=AT, links=Links(b"s" * 32, 60))

    assert message == said.CancelPaymentIntent(order_id=learned.account.order.id, payment_intent="pi_1")


@pytest.mark.parametrize(
    ("facts", "use"),
    [
        ((WAITS,), "held"),
        ((DECLINED,), "held"),
        ((DECLINED, CLOSED), "released"),
        ((WAITS, CLOSED), "released"),
        ((ON_ITS_WAY,), "held"),
        ((CAPTURED,), "redeemed"),
    ],
)
def test_a_coupon_is_given_back_once_nobody_can_pay(facts: tuple[Fact, ...], use: str) -> None:
    assert coupon_use(arrive(facts)[-1].seen) == use


def test_the_slot_is_filled_by_whatever_is_heard_first() -> None:
    for fact in (ASKED, WAITS, CAPTURED, CLOSED):
        assert arrive((fact,))[-1].order.stripe_payment_intent == "pi_1"
    learned = learn(Account(an_order(stripe_session_id=None), {}, frozenset()), WAITS, now=AT, mismatch_seconds=60)
    assert learned is not None
    assert learned.account.order.stripe_payment_intent is None, "an order with a page is paid by its session's intent"


# -- which method ------------------------------------------------------------------------------------------------------


def saved(name: str, *, days: int = 0, **given: Any) -> Saved:
    method = Method(name, "cus_1", "card", "visa", "4242", 12, 2034, added_at=AT + timedelta(days=days))
    return Saved(replace(method, **given))


OLD, NEW = saved("pm_old"), saved("pm_new", days=1)
GONE_BY = saved("pm_expired", days=2, exp_month=12, exp_year=2025)
ACCOUNT = saved("pm_account", days=3, type="sepa_debit", exp_month=None, exp_year=None)
ALL = (OLD, NEW, GONE_BY, ACCOUNT)


@pytest.mark.parametrize(
    ("default", "method_id", "currency", "expected"),
    [
        (None, None, "usd", "pm_old"),
        ("pm_new", None, "usd", "pm_new"),
        ("pm_new", "pm_old", "usd", "pm_old"),
        (None, "pm_account", "eur", "pm_account"),
    ],
)
def test_the_method_that_pays_is_the_one_named_or_the_default(
    default: str | None, method_id: str | None, currency: str, expected: str
) -> None:
    assert charging.chosen(ALL, default, method_id, currency, AT).method.id == expected


@pytest.mark.parametrize(
    ("methods", "method_id", "currency", "code", "status"),
    [
        ((), None, "usd", "no_payment_method", 409),
        (ALL, "pm_of_another", "usd", "not_found", 404),
        ((), "pm_old", "usd", "not_found", 404),
        (ALL, "pm_expired", "usd", "payment_method_expired", 409),
        ((GONE_BY,), None, "usd", "payment_method_expired", 409),
        (ALL, "pm_account", "usd", "payment_method_not_in_currency", 409),
    ],
)
def test_a_method_that_cannot_pay_is_refused_before_stripe_is_asked(
    methods: tuple[Saved, ...], method_id: str | None, currency: str, code: str, status: int
) -> None:
    with pytest.raises(Refused) as refused:
        charging.chosen(methods, None, method_id, currency, AT)

    assert (refused.value.code, refused.value.status) == (code, status)


def test_what_needs_an_address_is_not_sold_with_one_click() -> None:
    plain = Quote("usd", (), 3600, 0)
    shipped = replace(plain, delivery=Delivery((), ("US",)))
    taxed = replace(plain, tax=Tax(TaxSource.STRIPE))
    ada = Recipient("Ada", "1 Main Street")

    charging.check(plain, None)
    charging.check(shipped, ada)
    for quote, recipient in ((shipped, None), (taxed, ada)):
        with pytest.raises(Refused) as refused:
            charging.check(quote, recipient)
        assert (refused.value.code, refused.value.status) == ("one_click_not_offered", 409)


# -- what an intent asserts --------------------------------------------------------------------------------------------


def an_intent(status: str, **given: Any) -> dict[str, Any]:
    intent = {"id": "pi_1", "object": "payment_intent", "status": status, "amount": 3600, "amount_received": 0}
    return intent | {"currency": "usd", "metadata": {}} | given


def test_an_intent_asserts_what_its_events_assert() -> None:
    error = {"code": "card_declined", "decline_code": "insufficient_funds"}
    unanswered = {"code": "payment_intent_authentication_failure"}

    facts = [
        attempt_in(an_intent("succeeded", amount_received=3600)).fact,
        attempt_in(an_intent("requires_payment_method", latest_charge="ch_2", last_payment_error=error)).fact,
        attempt_in(an_intent("requires_payment_method", latest_charge="ch_1", last_payment_error=unanswered)).fact,
        attempt_in(an_intent("canceled")).fact,
    ]

    assert facts == [CAPTURED, DECLINED, replace(UNANSWERED, charge="pi_1"), CLOSED]
