"""Store credit: how much of it pays, from which grants, what Stripe is asked for, and what becomes of it."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from checkout.decide import asking, crediting
from checkout.decide import order as rules
from checkout.decide.credit_use import is_back
from checkout.decide.crediting import Need
from checkout.decide.learning import Account, learn, learn_of_refund, with_refund
from checkout.decide.recovering import Links
from checkout.decide.saying import message_for
from checkout.decide.totals import totals_of
from checkout.model.carts import PricedLine, Quote
from checkout.model.credit import Book, CreditSource, CreditState, Grant
from checkout.model.delivery import (
    Delivery,
    DeliveryWish,
    Destination,
    Offer,
    Recipient,
    Tax,
    TaxShare,
    TaxSource,
)
from checkout.model.facts import (
    CoveredByCredit,
    Fact,
    IntentSucceeded,
    OrderEnded,
    OrderRefused,
    ReviewSeen,
    SessionSeen,
    StockShort,
)
from checkout.model.options import PageRules
from checkout.model.orders import OneClick, Order, Placement, State
from payments_shared.contracts import checkout as said
from payments_shared.errors import Refused
from payments_shared.ids import derived_id
from payments_shared.money import SUPPORTED, payable_unit
from tests.checkout.test_order_fold import EXPIRED, HISTORIES, OUT_OF_STOCK, PAID, an_order

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREDIT = 600
COVERED = CoveredByCredit()
SHORT = StockShort()


def a_grant(name: str, amount: int = 1000, **given: Any) -> Grant:
    grant = Grant(derived_id("grant", name), "ada", "usd", amount, None, CreditSource.ADMIN, name, "", "admin", NOW)
    return replace(grant, **given)


def a_book(*grants: Grant) -> Book:
    return Book(MappingProxyType({grant.id: grant for grant in grants}))


def a_quote(total: int, currency: str = "usd", **given: Any) -> Quote:
    return replace(Quote(currency, (PricedLine("MUG", "Mug", 1, total),), total, 0), **given)


# -- how much ----------------------------------------------------------------------------------------------------------


@given(
    currency=some.sampled_from(sorted(SUPPORTED)),
    over=some.integers(0, 10_000),
    available=some.integers(0, 120_000),
    has_page=some.booleans(),
)
def test_what_is_left_is_nothing_or_can_be_charged_and_no_more_could_be_used(
    currency: str, over: int, available: int, has_page: bool
) -> None:
    step = payable_unit(currency)
    least = crediting.smallest_charge(currency)
    total, available = least + over * step, available * step

    credit = crediting.usable(total, available, currency, has_page=has_page)

    def fits(amount: int) -> bool:
        due = total - amount
        return 0 <= amount <= available and (due >= least or (due == 0 and not has_page)) and amount % step == 0

    assert fits(credit)
    better = (total, total - least, min(available, total) // step * step)
    assert not any(fits(one) and one > credit for one in better)


@pytest.mark.parametrize(
    ("available", "has_page", "credit"),
    [
        (0, False, 0),
        (1000, False, 1000),
        (1790, False, 1750),
        (1800, False, 1800),
        (9999, False, 1800),
        (9999, True, 1750),
    ],
)
def test_a_rest_below_the_smallest_charge_is_that_charge(available: int, has_page: bool, credit: int) -> None:
    assert crediting.usable(1800, available, "usd", has_page=has_page) == credit


def test_a_total_that_is_the_smallest_charge_is_paid_whole_or_not_at_all() -> None:
    assert [crediting.usable(50, available, "usd", has_page=False) for available in (49, 50)] == [0, 50]


def test_no_part_of_a_unit_is_used_where_nobody_can_pay_one() -> None:
    assert crediting.usable(10_000, 1_050, "isk", has_page=False) == 1_000
    assert crediting.usable(10_000, 1_055, "kwd", has_page=False) == 1_050


def test_where_stripe_finds_the_tax_credit_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        crediting.with_credit(a_quote(1800, tax=Tax(TaxSource.STRIPE)), [a_grant("one")], NOW)

    assert (refused.value.code, refused.value.status) == ("store_credit_not_offered", 409)
    assert refused.value.errors[0].pointer == "/use_store_credit"


def test_where_an_address_is_typed_the_page_still_opens() -> None:
    delivered = a_quote(1800, delivery=Delivery((Offer("post", "Post", 490),), ("DE",)))

    quote = crediting.with_credit(delivered, [a_grant("one", 5000)], NOW)

    assert (quote.store_credit_minor, quote.due_minor, quote.covered) == (2240, 50, False)
    told = crediting.with_credit(delivered, [a_grant("one", 5000)], NOW, recipient=Recipient("Ada", "1 Broadway"))
    assert (told.store_credit_minor, told.due_minor, told.covered) == (2290, 0, True)


# -- what Stripe is asked for ------------------------------------------------------------------------------------------


@some.composite
def quotes(draw: some.DrawFn) -> Quote:
    units = draw(some.lists(some.integers(1, 5_000), min_size=1, max_size=4))
    lines = tuple(PricedLine(f"SKU{n}", "One", draw(some.integers(1, 3)), unit) for n, unit in enumerate(units))
    subtotal = sum(line.amount_minor for line in lines)
    discount = draw(some.integers(0, subtotal))
    added = draw(some.integers(0, 900))
    tax = Tax(TaxSource.TABLE, added, 0, (TaxShare("VAT", 190_000, False, added),)) if added else Tax()
    prices = sorted(draw(some.lists(some.integers(0, 2_000), max_size=3)))
    ways = tuple(Offer(f"way{n}", "Way", price) for n, price in enumerate(prices))
    addressed = draw(some.booleans())
    delivery = Delivery(ways, ("DE",)) if ways or addressed else None
    return Quote("usd", lines, subtotal, discount, delivery=delivery, tax=tax)


@given(quote=quotes(), available=some.integers(0, 40_000))
def test_stripe_takes_exactly_what_is_due_whichever_way_is_chosen_and_it_matches(quote: Quote, available: int) -> None:
    if quote.total_minor < crediting.smallest_charge("usd"):
        return
    grants = [a_grant("one", available)] if available else []
    quote = crediting.with_credit(quote, grants, NOW)
    if quote.covered:
        return
    wanted = Placement((), ("usd",), None, "a@example.com", "ada", None, "en-US", "/s", "/c")
    request = asking.session_of(derived_id("order", "1"), quote, wanted, "https://shop", NOW, rules=PageRules(2700))
    order = _stored(quote)
    off, _ = crediting.discount_at_stripe(order)
    lines = sum(one["quantity"] * one["price_data"]["unit_amount"] for one in request["line_items"])
    ways = request.get("shipping_options", [None])

    assert (off > 0) is ("discounts" in request)
    assert off <= lines
    for place, way in enumerate(ways):
        carried = way["shipping_rate_data"]["fixed_amount"]["amount"] if way else 0
        dearer = quote.delivery.offers[place].amount_minor - quote.shipping_minor if way and quote.delivery else 0
        assert carried >= 0
        assert lines - off + carried == quote.due_minor + dearer
        seen = SessionSeen(
            "cs_1", "complete", "paid", "pi_1", "usd", lines, off, 0, carried, lines - off + carried, chosen_way=place
        )
        found = totals_of(order, seen)
        assert (found.total_minor, found.adds_up) == (quote.total_minor + dearer, True)
        assert rules.view(order, [seen], settled_intent=None).mismatch is None


def _stored(quote: Quote) -> Order:
    return an_order(
        lines=quote.lines,
        subtotal_minor=quote.subtotal_minor,
        discount_minor=quote.discount_minor,
        tax_minor=quote.tax.added_minor,
        shipping_minor=quote.shipping_minor,
        total_minor=quote.total_minor,
        tax={"source": quote.tax.source.value, "added_minor": quote.tax.added_minor},
        store_credit_minor=quote.store_credit_minor,
        store_credit_state="reserved" if quote.store_credit_minor else None,
    )


def test_the_coupon_at_stripe_says_what_it_is() -> None:
    order = an_order(coupon="WELCOME10", discount_minor=360, total_minor=3240, store_credit_minor=CREDIT)

    assert crediting.discount_at_stripe(order) == (960, "WELCOME10, Store credit")
    assert crediting.discount_at_stripe(replace(order, store_credit_minor=0)) == (360, "WELCOME10")


def test_less_than_what_is_due_is_no_match() -> None:
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    less = replace(PAID, discount_minor=CREDIT + 1, total_minor=3600 - CREDIT - 1)

    assert rules.view(order, [less], settled_intent=None).mismatch == "amount_mismatch"
    assert rules.view(order, [PAID], settled_intent=None).mismatch == "amount_mismatch"


# -- from which grants -------------------------------------------------------------------------------------------------


def test_what_expires_soonest_is_used_first_and_what_has_expired_not_at_all() -> None:
    soon, later = NOW + timedelta(days=1), NOW + timedelta(days=2)
    grants = [
        a_grant("never", 500),
        a_grant("later", 300, expires_at=later),
        a_grant("soon", 200, expires_at=soon),
        a_grant("over", 900, expires_at=NOW),
        a_grant("other", 900, currency="eur"),
    ]

    parts = crediting.spread(grants, Need(derived_id("order", "1"), "ada", 600, "usd"), NOW)

    assert [(grant.reference, part) for grant, part in parts] == [("soon", 200), ("later", 300), ("never", 100)]
    assert crediting.free_minor(grants, "usd", NOW) == 1000


@given(
    amounts=some.lists(some.integers(1, 500), min_size=1, max_size=4),
    wanted=some.lists(some.tuples(some.integers(0, 5), some.integers(0, 700), some.integers(0, 3)), max_size=25),
)
def test_whatever_orders_do_no_grant_is_used_for_more_than_it_is(
    amounts: list[int], wanted: list[tuple[int, int, int]]
) -> None:
    grants = [
        a_grant(str(n), amount, expires_at=None if n % 2 else NOW + timedelta(hours=n))
        for n, amount in enumerate(amounts)
    ]
    book, orders, now = a_book(*grants), dict[int, Order](), NOW
    for number, asked, act in wanted:
        now += timedelta(minutes=20)
        if number not in orders:
            amount = min(asked, crediting.free_minor(book.grants.values(), "usd", now))
            if amount:
                order = an_order(id=derived_id("order", str(number)), customer_subject="ada", store_credit_minor=amount)
                orders[number] = replace(order, store_credit_state="reserved")
                book = crediting.reserved(book, Need(order.id, "ada", amount, "usd"), now)
            continue
        state = ("reserved", "spent", "released", "spent")[act]
        before = orders[number].store_credit_state
        if state == "reserved" or (before == "released" and not crediting.has_again(book, orders[number], now)):
            continue
        orders[number] = replace(orders[number], store_credit_state=state)
        book = crediting.moved(book, orders[number], now)

    entered = dict.fromkeys(book.grants, 0)
    for entry in book.entries:
        entered[entry.grant_id] += {"reserved": -1, "released": 1, "spent": 0}[entry.kind] * entry.amount_minor
    for grant in book.grants.values():
        uses = [use for use in book.uses.values() if use.grant_id == grant.id]
        assert grant.left_minor >= 0
        assert grant.reserved_minor == sum(use.amount_minor for use in uses if use.state is CreditState.RESERVED)
        assert grant.spent_minor == sum(use.amount_minor for use in uses if use.state is CreditState.SPENT)
        assert grant.amount_minor + entered[grant.id] == grant.left_minor
    for order in orders.values():
        kept = [u for u in book.uses.values() if u.order_id == order.id and u.state is not CreditState.RELEASED]
        full = order.store_credit_minor if order.store_credit_state != "released" else 0
        assert sum(use.amount_minor for use in kept) == full
        assert {use.state.value for use in kept} <= {order.store_credit_state}


def test_what_is_left_of_a_grant_is_lost_once() -> None:
    book = a_book(a_grant("one", 500, expires_at=NOW, reserved_minor=100, spent_minor=150))

    once = crediting.expired(book)

    (grant,) = once.grants.values()
    assert (grant.expired_minor, grant.left_minor) == (250, 0)
    assert [(entry.kind, entry.amount_minor) for entry in once.entries] == [("expired", 250)]


def test_balances_say_what_is_lost_next() -> None:
    soon = NOW + timedelta(days=1)
    grants = [
        a_grant("1", 500, expires_at=soon, reserved_minor=100),
        a_grant("2", 300),
        a_grant("3", 200, expires_at=NOW),
        a_grant("4", 70, currency="eur"),
    ]

    euros, dollars = crediting.balances(grants, NOW)

    assert (euros.currency, euros.available_minor, euros.expires_at) == ("eur", 70, None)
    assert (dollars.available_minor, dollars.reserved_minor) == (700, 100)
    assert (dollars.expiring_minor, dollars.expires_at) == (400, soon)


# -- what becomes of it ------------------------------------------------------------------------------------------------


def using(fact: Fact) -> Fact:
    """A fact of an order that uses credit: Stripe was asked for less, taken off its lines."""
    match fact:
        case SessionSeen():
            return replace(fact, discount_minor=fact.discount_minor + CREDIT, total_minor=fact.total_minor - CREDIT)
        case IntentSucceeded():
            return replace(fact, amount_minor=fact.amount_minor - CREDIT)
        case _:
            return fact


def told(order: Order, facts: Sequence[Fact]) -> tuple[Account, list[str]]:
    """The account once facts were learned in their order, and all that was said by then."""
    return told_more(Account(order, {}, frozenset()), facts)


def told_more(account: Account, facts: Sequence[Fact]) -> tuple[Account, list[str]]:
    """As above, for an account that has facts already."""
    words = list[str]()
    for fact in facts:
        learned = learn(account, fact, now=NOW, mismatch_seconds=60)
        if learned is not None:
            account = learned.account
            words += learned.due
    return account, words


@pytest.mark.parametrize("name", HISTORIES)
def test_in_whatever_order_facts_come_credit_is_spent_by_what_is_paid_and_kept_by_what_is_open(name: str) -> None:
    facts, state = HISTORIES[name]
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved", customer_subject="ada")

    for arrival in itertools.permutations([using(fact) for fact in facts]):
        ends, _ = told(order, arrival)
        after = ends.order
        over = (State.CANCELED, State.SETTLEMENT_FAILED)  # whichever was heard of first
        assert after.state is state or (state in over and after.state in over)
        if after.state is State.PAID and not after.dishonoured:
            expected = "spent"
        elif after.state in (State.PENDING, State.DECLINED) or (
            after.state is State.PROCESSING and OUT_OF_STOCK not in facts
        ):
            expected = "reserved"
        else:
            expected = "released"
        assert after.store_credit_state == expected, arrival


@pytest.mark.parametrize(
    ("facts", "state", "credit", "words"),
    [
        ((COVERED,), State.PAID, "spent", ["paid:store_credit"]),
        ((OUT_OF_STOCK,), State.CANCELED, "released", ["canceled"]),
        ((COVERED, SHORT), State.PAID, "released", ["paid:store_credit", "credit_returned"]),
        ((SHORT, COVERED), State.PAID, "released", ["paid:store_credit", "credit_returned"]),
        ((COVERED, OUT_OF_STOCK), State.PAID, "spent", ["paid:store_credit"]),
        ((OUT_OF_STOCK, COVERED), State.CANCELED, "released", ["canceled"]),
    ],
)
def test_an_order_that_credit_covers_is_paid_once_by_nobody_else(
    facts: tuple[Fact, ...], state: State, credit: str, words: list[str]
) -> None:
    order = an_order(store_credit_minor=3600, store_credit_state="reserved", stripe_session_id=None)

    for arrival in (facts, (*facts, *facts)):
        ends, heard = told(order, arrival)
        assert (ends.order.state, ends.order.store_credit_state, heard) == (state, credit, words)
        assert (ends.order.stripe_payment_intent, ends.order.total_minor) == (None, 3600)


def test_money_that_comes_for_an_order_that_credit_covers_goes_back() -> None:
    order = an_order(store_credit_minor=3600, store_credit_state="reserved", stripe_session_id=None)

    _, heard = told(order, (COVERED, IntentSucceeded("pi_9", 3600, "usd")))

    assert heard == ["paid:store_credit", f"{rules.Say.REFUND}pi_9:surplus_payment"]


def test_what_is_said_of_a_covered_order_names_no_payment_and_its_credit() -> None:
    order = an_order(store_credit_minor=3600, store_credit_state="reserved", stripe_session_id=None)
    ends, _ = told(order, (COVERED,))
    seen = rules.view(ends.order, [COVERED], settled_intent=None)

    message = message_for("paid:store_credit", ends.order, seen, now=NOW, hold_until=NOW, links=Links(b"", 1))

    assert isinstance(message, said.OrderPaid)
    assert (message.payments, message.store_credit_minor, message.total_minor) == ((), 3600, 3600)


def test_a_covered_order_goes_where_one_click_said() -> None:
    wanted = Placement(
        (), ("usd",), None, "a@example.com", "ada", None, "en-US", "/s", "/c",
        delivery=DeliveryWish(Destination("US", "CA"), asked=True),
        one_click=OneClick(None, recipient=Recipient("Ada", "1 Broadway", None, "Oakland", "94607")),
    )  # fmt: skip
    quote = a_quote(3600, delivery=Delivery((), ("US",)), store_credit_minor=3600)
    request = asking.covered(derived_id("order", "1"), quote, wanted, "https://shop")
    order = an_order(store_credit_minor=3600, store_credit_state="reserved", stripe_request=request)
    ends, _ = told(order, (COVERED,))
    seen = rules.view(ends.order, [COVERED], settled_intent=None)

    message = message_for("paid:store_credit", ends.order, seen, now=NOW, hold_until=NOW, links=Links(b"", 1))

    assert isinstance(message, said.OrderPaid)
    assert message.shipping_address == said.Address(
        name="Ada", line1="1 Broadway", city="Oakland", state="CA", postal_code="94607", country="US"
    )


def test_what_is_said_of_a_paid_order_sums_to_its_total() -> None:
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    paid = using(PAID)
    ends, _ = told(order, (paid,))
    seen = rules.view(ends.order, [paid], settled_intent=None)

    message = message_for("paid:pi_1", ends.order, seen, now=NOW, hold_until=NOW, links=Links(b"", 1))

    assert isinstance(message, said.OrderPaid)
    assert sum(one.amount_minor for one in message.payments) + message.store_credit_minor == message.total_minor == 3600


def test_late_money_whose_credit_is_gone_goes_back_as_it_was_captured() -> None:
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")

    ends, heard = told(order, (EXPIRED, OrderEnded(crediting.GONE), using(PAID)))

    assert (ends.order.state, ends.order.dishonoured, ends.order.store_credit_state) == (State.PAID, True, "released")
    assert heard == ["expired", "canceled", f"{rules.Say.REFUND}pi_1:canceled_order"]
    seen = rules.view(ends.order, list(ends.facts.values()), settled_intent=None)
    back = message_for(heard[-1], ends.order, seen, now=NOW, hold_until=NOW, links=Links(b"", 1))
    assert isinstance(back, said.OrderRefundDue)
    assert back.amount_minor == 3600 - CREDIT
    why = message_for("canceled", ends.order, seen, now=NOW, hold_until=NOW, links=Links(b"", 1))
    assert isinstance(why, said.OrderCanceled)
    assert (why.reason, why.cause) == ("superseded", "store_credit_gone")


def test_what_a_review_gives_back_gives_its_credit_back_too() -> None:
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    rejected, _ = told(order, (using(PAID), ReviewSeen("prv_1", "pi_1", closed="refunded_as_fraud")))

    back = with_refund(rejected, derived_id("refund", "1"), "succeeded", 3600 - CREDIT, "pi_1")

    assert (rejected.order.store_credit_state, rejected.order.held_reason) == ("spent", "review_rejected")
    assert (back.store_credit_state, back.held_reason) == ("released", None)


def test_what_a_person_refuses_gives_its_credit_back_once_its_money_is_back_and_for_good() -> None:
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    refused, _ = told(order, (using(PAID), OrderRefused("ben", "why")))

    part = with_refund(refused, derived_id("refund", "1"), "succeeded", 3600 - CREDIT - 1, "pi_1")
    rest = with_refund(Account(part, refused.facts, refused.said), derived_id("refund", "2"), "succeeded", 1, "pi_1")
    failed = with_refund(Account(rest, refused.facts, refused.said), derived_id("refund", "2"), "failed", 1, "pi_1")

    states = [one.store_credit_state for one in (refused.order, part, rest, failed)]
    assert states == ["spent", "spent", "released", "released"]


def test_of_what_a_refund_gives_back_nothing_goes_back_by_itself_as_well() -> None:
    """Whichever comes first, the refund or what would give the credit back."""
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    bought, _ = told(order, (using(PAID),))
    refund = derived_id("refund", "1")

    begun = Account(with_refund(bought, refund, "approved", 1, ""), bought.facts, bought.said)
    short, _ = told_more(begun, (SHORT,))
    failed = with_refund(short, refund, "failed", 1, "")
    refused, _ = told_more(begun, (OrderRefused("ben", "why"),))
    back = with_refund(refused, derived_id("refund", "2"), "succeeded", 3600 - CREDIT, "pi_1")

    assert (short.order.store_credit_state, back.store_credit_state) == ("spent", "spent")
    assert failed.store_credit_state == "released", "what failed is given back by nobody else"


@pytest.mark.parametrize("end", ["failed", "canceled", "rejected"])
def test_its_buyer_is_told_of_credit_that_went_back_by_itself_when_it_did_and_of_no_other(end: str) -> None:
    """What a refund gives back of it is told as a refund, and may be less than the whole."""
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    bought, _ = told(order, (using(PAID),))
    refund = derived_id("refund", "1")
    begun = Account(with_refund(bought, refund, "requested", 1, ""), bought.facts, bought.said)

    short, words = told_more(begun, (SHORT,))
    agreed = learn_of_refund(short, refund, "approved", 1, "")
    ended = learn_of_refund(short, refund, end, 1, "")
    again = learn_of_refund(ended.account, derived_id("refund", "2"), "succeeded", 3600 - CREDIT, "pi_1")

    assert (words, agreed.due, ended.due, again.due) == ([], (), (rules.Say.CREDIT_BACK,), ())
    assert (short.order.store_credit_state, ended.account.order.store_credit_state) == ("spent", "released")


def test_credit_that_is_refunded_is_none_of_the_money_that_must_come_back() -> None:
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    refused, _ = told(order, (using(PAID), OrderRefused("ben", "why")))

    part = with_refund(refused, derived_id("refund", "1"), "succeeded", 3600 - CREDIT - 1, "pi_1")
    credit = with_refund(Account(part, refused.facts, refused.said), derived_id("refund", "2"), "succeeded", 1, "")

    assert credit.store_credit_state == "spent"


@pytest.mark.parametrize("first", ["money", "refusal"])
def test_what_goes_back_by_itself_is_told_at_one_moment_and_stays_back(first: str) -> None:
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    bought, _ = told(order, (using(PAID),))
    refund = derived_id("refund", "1")
    facts = (OrderRefused("ben", "why"),)
    if first == "refusal":
        refused, _ = told_more(bought, facts)
        steps = [order, bought.order, refused.order, with_refund(refused, refund, "succeeded", 3600 - CREDIT, "pi_1")]
    else:
        back = with_refund(bought, refund, "succeeded", 3600 - CREDIT, "pi_1")
        refused, _ = told_more(Account(back, bought.facts, bought.said), facts)
        steps = [order, bought.order, back, refused.order]
    late = with_refund(Account(steps[-1], refused.facts, refused.said), derived_id("refund", "2"), "approved", 1, "")

    assert [is_back(one) for one in (*steps, late)] == [False, False, False, True, True]


def test_what_was_never_spent_is_not_told_to_be_back() -> None:
    """An order that ended unpaid, or whose late money goes back: nobody can refund its credit."""
    order = an_order(store_credit_minor=CREDIT, store_credit_state="reserved")
    ended, _ = told(order, (OrderEnded("out_of_stock"),))
    late, _ = told_more(ended, (using(PAID),))

    assert [one.order.store_credit_state for one in (ended, late)] == ["released", "released"]
    assert (is_back(ended.order), is_back(late.order), late.order.dishonoured) == (False, False, True)
