"""An order that store credit pays first, and two cards the rest: all three, or none of them."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from checkout.decide import crediting
from checkout.decide import order as rules
from checkout.decide.crediting import Need
from checkout.decide.learning import Account, learn
from checkout.decide.recovering import Links
from checkout.decide.saying import message_for
from checkout.decide.splitting import amounts_of
from checkout.model.credit import Book
from checkout.model.facts import EndAsked, Fact, IntentAuthorized, IntentSucceeded, OrderEnded
from checkout.model.orders import State
from checkout.model.splits import Leg, Split
from payments_shared.contracts import checkout as said
from payments_shared.errors import Refused
from tests.checkout.test_charge_fold import charged_order
from tests.checkout.test_one_click import DECLINES
from tests.checkout.test_split_fold import HISTORIES, UNWANTED, parts
from tests.checkout.test_splitting import buys, cards, taken
from tests.checkout.test_store_credit_rules import a_book, a_grant
from tests.support.credit import Holder
from tests.support.shopping import Shopper

AT = datetime(2026, 1, 1, tzinfo=UTC)
CREDIT = 600  # off the second part
ORDER = charged_order(
    split=Split((Leg("pm_a", 1600), Leg("pm_b", 2000 - CREDIT))),
    split_open=True,
    store_credit_minor=CREDIT,
    store_credit_state="reserved",
    customer_subject="ada",
)
OPEN = (State.PENDING, State.DECLINED, State.PROCESSING)


def due(fact: Fact) -> Fact:
    """What the second card is asked for: the rest."""
    if isinstance(fact, IntentAuthorized | IntentSucceeded) and fact.leg == 1:
        return replace(fact, amount_minor=fact.amount_minor - CREDIT)
    return fact


def whole_book() -> Book:
    """The credit as it is once the order was placed; two grants pay it."""
    given = a_book(a_grant("one", 400), a_grant("two", 1000))
    return crediting.reserved(given, Need(ORDER.id, "ada", CREDIT, "usd"), AT)


def arrived(facts: Sequence[Fact]) -> tuple[Account, Book, list[said.OrderPaid]]:
    """The order, its credit, and what was said of its payment, once the facts were learned in their order."""
    account, book, told = Account(ORDER, {}, frozenset()), whole_book(), list[said.OrderPaid]()
    for fact in facts:
        if isinstance(fact, OrderEnded | EndAsked) and not rules.may_end(account.order):
            continue
        learned = learn(account, fact, now=AT, mismatch_seconds=60)
        if learned is None:
            continue
        account = learned.account
        book = crediting.moved(book, account.order, AT)
        words = (
            message_for(key, account.order, learned.seen, now=AT, hold_until=AT, links=Links(b"s" * 32, 60))
            for key in learned.due
        )
        told += [word for word in words if isinstance(word, said.OrderPaid)]
    return account, book, told


@pytest.mark.parametrize("name", HISTORIES)
def test_credit_is_spent_with_both_cards_and_goes_back_once_with_neither(name: str) -> None:
    facts, end = HISTORIES[name]

    for arrival in itertools.permutations([due(fact) for fact in facts]):
        account, book, told = arrived(arrival)
        if UNWANTED in facts and UNWANTED not in account.facts.values():
            continue  # its buyer was told that he comes too late
        state, entered = account.order.state, Counter[str]()
        for entry in book.entries:
            entered[entry.kind] += entry.amount_minor

        assert state is end
        assert account.order.held_reason is None
        assert account.order.store_credit_state == (
            "spent" if state is State.PAID else "reserved" if state in OPEN else "released"
        )
        assert entered["reserved"] == CREDIT
        assert entered["spent"] == (CREDIT if state is State.PAID else 0)
        assert entered["released"] == (0 if state is State.PAID or state in OPEN else CREDIT)
        for paid in told:
            assert sum(one.amount_minor for one in paid.payments) + paid.store_credit_minor == paid.total_minor == 3600


def test_the_parts_are_what_credit_leaves_and_who_names_more_is_told_what_is_left() -> None:
    assert amounts_of(parts(1600, None), 3600 - CREDIT, "usd") == (1600, 1400)

    for wished, code in ((parts(1600, 2000), "split_not_total"), (parts(3000, None), "split_part_too_small")):
        with pytest.raises(Refused) as refused:
            amounts_of(wished, 3600 - CREDIT, "usd")
        assert (refused.value.code, refused.value.extra) == (code, {"amount_due_minor": 3000, "currency": "usd"})


async def test_credit_and_two_cards_pay_one_order_and_a_declined_card_gives_credit_back(shopper: Shopper) -> None:
    ada, sku, other = Holder(shopper), await shopper.offer(stock=5), await shopper.offer(stock=5)
    good, second, poor = await cards(ada.person, "4242424242424242", "5555555555554444", DECLINES)
    await ada.given(CREDIT)

    refused = await buys(ada.person, other, [good, poor], use_store_credit=True)
    assert (refused.status, refused.body["method_id"]) == (402, poor)
    assert await ada.has() == (CREDIT, 0)
    answer = await buys(ada.person, sku, [good, second], use_store_credit=True)

    order = answer.body
    assert (answer.status, order["total_minor"], order["amount_due_minor"]) == (201, 3600, 3600 - CREDIT), answer
    assert [part["amount_minor"] for part in order["payments"]] == [1000, 2000]
    assert await taken(shopper, sku) == [("succeeded", 1000), ("succeeded", 2000)]
    assert await taken(shopper, other) == [("canceled", 0)] * 2
    await shopper.until(order, "paid")
    assert await ada.entered() == [
        ("granted", CREDIT),
        ("reserved", CREDIT),
        ("released", CREDIT),
        ("reserved", CREDIT),
        ("spent", CREDIT),
    ]
    await shopper.audited()
    assert await shopper.effects(order) == (1, 1, 1, 1)
