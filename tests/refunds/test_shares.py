"""How much goes back: whatever is asked for in whatever order, the parts sum to what was paid."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments_shared.contracts.refunds import RefundRequested
from payments_shared.errors import Refused
from payments_shared.ids import new_id
from payments_shared.money import SUPPORTED, exponent, payable_unit
from refunds.decide import saying
from refunds.decide.shares import apportion, assess, fit, lines_of, refundable, shares_of
from refunds.model.bills import (
    NOTHING,
    Amount,
    Bill,
    Everything,
    Given,
    Line,
    Pieces,
    Returned,
    Shares,
    Sum,
    Tender,
)
from refunds.model.refunds import Order, Refund, State
from refunds.model.requests import Destination, Origin, Person, Request
from tests.faults import evidence

CURRENCIES: Final = sorted(SUPPORTED)
REFUSALS: Final = {"amount_exceeds_refundable", "already_returned", "fee_too_large", "nothing_refundable"}
"""What a lawful wish may meet: less is left than it asks for, or its fee leaves nothing."""

AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_bill(*lines: tuple[int, int], discount: int = 0, tax: int = 0, shipping: int = 0, currency: str = "usd") -> Bill:
    """`lines`: how many pieces, and the price of one."""
    made = tuple(Line(f"SKU-{n}", "x", q, q * price, ((f"SKU-{n}", 1),)) for n, (q, price) in enumerate(lines))
    subtotal = sum(line.amount_minor for line in made)
    return Bill(currency, subtotal, discount, tax, shipping, subtotal - discount + tax + shipping, 0, made, AT)


def after(before: Given, found: Sum) -> Given:
    return Given(before.shares + found.shares, (*before.lines, *found.lines), before.fees_minor + found.fee_minor)


BILL = a_bill((3, 1000), (1, 501), discount=350, tax=617, shipping=499)


def test_a_full_refund_is_all_that_was_paid_with_every_piece() -> None:
    found = assess(Everything(), BILL, Given(), BILL.total_minor)

    assert found.amount_minor == BILL.total_minor
    assert found.shares == shares_of(BILL)
    assert [(line.line, line.quantity, line.restock) for line in found.lines] == [(0, 3, True), (1, 1, True)]


def test_pieces_one_by_one_and_then_shipping_leave_nothing() -> None:
    so_far, amounts = Given(), []
    for wish in (
        *[Pieces((Returned(0, 1, restock=True),))] * 3,
        Pieces((Returned(1, 1, restock=False),), shipping=True),
    ):
        found = assess(wish, BILL, so_far, BILL.total_minor - so_far.shares.total_minor)
        so_far = after(so_far, found)
        amounts.append(found.amount_minor)

    assert sum(amounts) == BILL.total_minor
    assert so_far.shares == shares_of(BILL)
    assert max(amounts[:3]) - min(amounts[:3]) <= 2


def test_shares_of_lines_carry_the_discount_and_the_tax() -> None:
    lines = lines_of(BILL)

    assert [goods for goods, _ in lines] == [2700, 451]
    assert sum(tax for _, tax in lines) < BILL.tax_minor, "shipping is taxed too"
    assert assess(Pieces((Returned(1, 1, restock=False),)), BILL, Given(), BILL.total_minor).amount_minor == sum(
        lines[1]
    )


def test_an_amount_takes_its_part_of_the_tax() -> None:
    found = assess(Amount(1000), BILL, Given(), BILL.total_minor)

    assert found.amount_minor == 1000
    assert found.shares.tax_minor == 145  # 617 of 4267
    assert found.lines == ()


def test_a_fee_is_kept_and_may_be_given_back_later() -> None:
    returned = assess(Everything(fee_minor=500), BILL, Given(), BILL.total_minor)
    later = assess(Amount(500), BILL, after(Given(), returned), 500)

    assert returned.amount_minor == BILL.total_minor - 500
    assert returned.shares.tax_minor == BILL.tax_minor
    assert (returned.shares + later.shares) == shares_of(BILL)


def test_the_last_piece_does_not_bring_back_the_fee_of_the_first() -> None:
    bill = a_bill((2, 1000))
    first = assess(Pieces((Returned(0, 1, restock=True),), fee_minor=100), bill, Given(), 2000)
    second = assess(Pieces((Returned(0, 1, restock=True),)), bill, after(Given(), first), 1100)

    assert (first.amount_minor, second.amount_minor) == (900, 1000)


@pytest.mark.parametrize(
    ("wish", "left", "code", "status"),
    [
        (Everything(), 0, "nothing_refundable", 409),
        (Amount(101), 100, "amount_exceeds_refundable", 409),
        (Pieces((Returned(0, 3, restock=True),)), 100, "amount_exceeds_refundable", 409),
        (Pieces((Returned(0, 4, restock=True),)), 4267, "already_returned", 409),
        (Pieces((Returned(2, 1, restock=True),)), 4267, "line_unknown", 422),
        (Pieces((Returned(-1, 1, restock=True),)), 4267, "line_unknown", 422),
        (Everything(fee_minor=4267), 4267, "fee_too_large", 422),
    ],
)
def test_what_cannot_be_given_back_is_refused_with_what_can(
    wish: Everything | Amount | Pieces, left: int, code: str, status: int
) -> None:
    with pytest.raises(Refused) as refused:
        assess(wish, BILL, Given(), left)

    assert (refused.value.code, refused.value.status) == (code, status)
    if code in ("nothing_refundable", "amount_exceeds_refundable"):
        assert refused.value.extra == {"refundable": left}


def test_parts_that_nobody_can_pay_are_refused() -> None:
    bill = a_bill((1, 100_000), currency="isk")

    for wish in (Amount(150), Everything(fee_minor=150)):
        with pytest.raises(Refused, match="not_payable"):
            assess(wish, bill, Given(), 100_000)


def test_an_open_dispute_caps_a_full_refund() -> None:
    tenders = [Tender("pi_1", 10_000, disputed_minor=6_000)]

    found = assess(Everything(), a_bill((1, 10_000)), Given(), refundable(tenders))

    assert found.amount_minor == 4_000


def test_what_is_not_sold_again_is_told_in_the_parts_of_a_bundle() -> None:
    bundle = Line("SET", "Set", 2, 4000, (("CAP", 1), ("MUG", 2)))
    bill = replace(a_bill((1, 1)), lines=(bundle,), subtotal_minor=4000, total_minor=4000)
    order = Order(new_id(), None, paid=True, shortfall=False, bill=bill)
    lines = (Returned(0, 1, restock=False), Returned(0, 1, restock=True))
    request = Request(
        id=(request_id := new_id()), order_id=order.order_id, currency="usd", amount_minor=4000, sum=Sum(NOTHING, lines),
        destination=Destination.ORIGINAL, reason="damaged", note="", origin=Origin.PERSON, requester=Person("sam"),
    )  # fmt: skip
    refund = Refund(
        request_id,
        order.order_id,
        "pi_1",
        4000,
        "usd",
        "damaged",
        State.APPROVED,
        "sam",
        "policy",
        request_id=request_id,
    )

    said = saying.asked(refund, order, request)

    assert isinstance(said, RefundRequested)
    assert [(one.sku, one.quantity) for one in said.lines] == [("CAP", 2), ("MUG", 4)]
    assert [(one.sku, one.quantity) for one in said.unsellable] == [("CAP", 1), ("MUG", 2)]


# -- tenders -----------------------------------------------------------------------------------------------------------


def test_each_tender_gets_back_in_proportion_to_what_it_paid() -> None:
    tenders = [Tender("pi_1", 7000), Tender("store_credit", 3000)]

    assert apportion(1000, tenders, "usd") == {"pi_1": 700, "store_credit": 300}
    assert apportion(10_000, tenders, "usd") == {"pi_1": 7000, "store_credit": 3000}


def test_what_one_tender_cannot_take_goes_to_the_others() -> None:
    tenders = [Tender("pi_1", 7000, disputed_minor=6900), Tender("pi_2", 3000)]

    assert apportion(2000, tenders, "usd") == {"pi_1": 100, "pi_2": 1900}


def test_a_dispute_over_what_was_refunded_leaves_nothing_rather_than_less() -> None:
    assert Tender("pi_1", 1000, spent_minor=600, disputed_minor=1000).left_minor == 0


def test_fit_takes_from_what_is_left_when_a_share_is_used_up() -> None:
    assert fit(Shares(100, 20, 0), Shares(50, 20, 80), 120) == Shares(50, 20, 50)


# -- any order, any currency -------------------------------------------------------------------------------------------


@st.composite
def bills(draw: st.DrawFn) -> Bill:
    """Payable totals; discounts and taxes of any size."""
    currency = draw(st.sampled_from(sorted(SUPPORTED)))
    unit = payable_unit(currency)
    lines = draw(
        st.lists(st.tuples(st.integers(1, 7), st.integers(1, 50_000).map(lambda n: n * unit)), min_size=1, max_size=5)
    )
    subtotal = sum(q * price for q, price in lines)
    discount = draw(st.integers(0, subtotal // unit - 1)) * unit
    tax = draw(st.integers(0, subtotal // unit // 3)) * unit
    shipping = draw(st.integers(0, 3000)) * unit
    bill = a_bill(*lines, discount=discount, tax=tax, shipping=shipping, currency=currency)
    return replace(bill, store_credit_minor=draw(st.integers(0, bill.total_minor // unit)) * unit)


@st.composite
def wishes(draw: st.DrawFn, bill: Bill, given_: Given, left: int) -> Everything | Amount | Pieces:
    unit = payable_unit(bill.currency)
    kind = draw(st.sampled_from(["amount", "pieces", "pieces", "fee", "everything"]))
    if kind == "amount":
        return Amount(draw(st.integers(1, max(left // unit, 1))) * unit)
    if kind == "everything":
        return Everything(restock=draw(st.booleans()))
    rest = [(index, line.quantity - given_.pieces(index)) for index, line in enumerate(bill.lines)]
    lines = tuple(
        Returned(index, draw(st.integers(1, most)), draw(st.booleans()))
        for index, most in rest
        if most and draw(st.booleans())
    )
    return Pieces(lines, draw(st.booleans()), unit if kind == "fee" else 0)


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_partial_refunds_of_any_kind_sum_to_what_was_paid_and_never_more(data: st.DataObject) -> None:
    """Some of them fail and give their money back; a last full refund takes what is left."""
    bill = data.draw(bills())
    unit, taken = (
        payable_unit(bill.currency),
        {"pi_1": bill.total_minor - bill.store_credit_minor, "credit": bill.store_credit_minor},
    )
    kept: list[tuple[Sum, dict[str, int]]] = []
    for last in (*[False] * data.draw(st.integers(0, 6)), True):
        so_far = Given()
        for one, _ in kept:
            so_far = after(so_far, one)
        tenders = [Tender(n, most, sum(parts.get(n, 0) for _, parts in kept)) for n, most in taken.items()]
        left = refundable(tenders)
        if not left:
            break
        try:
            found = assess(Everything() if last else data.draw(wishes(bill, so_far, left)), bill, so_far, left)
        except Refused:
            if last:
                raise
            continue
        if not found.amount_minor:
            continue
        parts = dict(apportion(found.amount_minor, tenders, bill.currency))
        assert sum(parts.values()) == found.amount_minor <= left
        room = {tender.name: tender.left_minor for tender in tenders}
        assert all(0 < part <= room[name] and part % unit == 0 for name, part in parts.items())
        assert min(found.shares.goods_minor, found.shares.tax_minor, found.shares.shipping_minor) >= 0
        kept.append((found, parts))
        if not last and data.draw(st.booleans()):
            kept.pop(data.draw(st.integers(0, len(kept) - 1)))

    total = NOTHING
    for one, _ in kept:
        total += one.shares
    assert total == shares_of(bill)
    for index, line in enumerate(bill.lines):
        assert sum(r.quantity for one, _ in kept for r in one.lines if r.line == index) <= line.quantity


# -- ten thousand orders -----------------------------------------------------------------------------------------------


def _some_bill(chance: random.Random, currency: str) -> Bill:
    unit = payable_unit(currency)
    lines = [(chance.randint(1, 9), chance.randint(1, 60_000) * unit) for _ in range(chance.randint(1, 6))]
    subtotal = sum(quantity * price for quantity, price in lines)
    bill = a_bill(
        *lines,
        discount=chance.choice([0, chance.randint(0, subtotal // unit - 1)]) * unit,
        tax=chance.choice([0, chance.randint(0, subtotal // unit // 3)]) * unit,
        shipping=chance.choice([0, chance.randint(0, 3000)]) * unit,
        currency=currency,
    )
    credit = chance.choice([0, 0, chance.randint(0, bill.total_minor // unit)]) * unit
    return replace(bill, store_credit_minor=credit)


def _some_tenders(chance: random.Random, bill: Bill) -> list[Tender]:
    unit, captured = payable_unit(bill.currency), bill.total_minor - bill.store_credit_minor
    first = chance.choice([captured, chance.randint(0, captured // unit) * unit])
    names = {"pi_1": first, "pi_2": captured - first, "store_credit": bill.store_credit_minor}
    return [Tender(name, taken) for name, taken in names.items() if taken]


def _some_wish(chance: random.Random, bill: Bill, before: Given, left: int) -> Everything | Amount | Pieces:
    unit = payable_unit(bill.currency)
    if chance.random() < 0.4:
        return Amount(chance.randint(1, left // unit) * unit)
    rest = [(index, line.quantity - before.pieces(index)) for index, line in enumerate(bill.lines)]
    lines = tuple(
        Returned(index, chance.randint(1, most), restock=chance.random() < 0.7)
        for index, most in rest
        if most and chance.random() < 0.5
    )
    return Pieces(lines, shipping=chance.random() < 0.3, fee_minor=unit if chance.random() < 0.2 else 0)


def _refunded(chance: random.Random, currency: str) -> tuple[int, Counter[str]]:
    """One order, refunded in random parts, of which some fail, and at last whole: how many refunds it took, and what
    was refused on the way. Each asserts that no tender gives back more than it took, and that all sums are exact."""
    bill = _some_bill(chance, currency)
    unit, tenders, refused = payable_unit(currency), _some_tenders(chance, bill), Counter[str]()
    kept: list[tuple[Sum, dict[str, int]]] = []
    for last in (*[False] * chance.randint(1, 8), True):
        so_far = Given()
        for one, _ in kept:
            so_far = after(so_far, one)
        now = [replace(t, spent_minor=sum(parts.get(t.name, 0) for _, parts in kept)) for t in tenders]
        if not (left := refundable(now)):
            break
        try:
            found = assess(Everything() if last else _some_wish(chance, bill, so_far, left), bill, so_far, left)
        except Refused as refusal:
            assert not last
            refused[refusal.code] += 1
            continue
        if not found.amount_minor:
            continue
        parts = dict(apportion(found.amount_minor, now, currency))
        assert sum(parts.values()) == found.amount_minor == found.shares.total_minor <= left
        assert min(found.shares.goods_minor, found.shares.tax_minor, found.shares.shipping_minor) >= 0
        assert all(line.goods_minor >= 0 and line.tax_minor >= 0 for line in found.lines)
        assert all(0 < parts.get(t.name, unit) <= max(t.left_minor, unit) for t in now)
        assert all(part % unit == 0 for part in parts.values())
        kept.append((found, parts))
        if not last and chance.random() < 0.2:
            kept.pop(chance.randrange(len(kept)))
    total = NOTHING
    for one, _ in kept:
        total += one.shares
    assert total == shares_of(bill)
    assert {t.name: t.taken_minor for t in tenders} == {
        t.name: sum(parts.get(t.name, 0) for _, parts in kept) for t in tenders
    }
    return len(kept), refused


def _refund_orders(orders: int, *, seed: int) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Orders and refunds by currency, and what was refused."""
    chance = random.Random(seed)
    made, refunds, refused = Counter[str](), Counter[str](), Counter[str]()
    for number in range(orders):
        currency = CURRENCIES[number % len(CURRENCIES)]
        count, refusals = _refunded(chance, currency)
        made[currency] += 1
        refunds[currency] += count
        refused += refusals
    assert refused.keys() <= REFUSALS, refused
    return made, refunds, refused


def test_orders_of_every_currency_are_refunded_in_parts_to_the_unit() -> None:
    made, refunds, _ = _refund_orders(5 * len(CURRENCIES), seed=1)

    assert made.keys() == set(CURRENCIES)
    assert sum(refunds.values()) > 2 * sum(made.values())


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_ten_thousand_orders_are_refunded_in_parts_to_the_unit() -> None:
    made, refunds, refused = _refund_orders(12_000, seed=2)

    rows = [(c.upper(), exponent(c), payable_unit(c), made[c], refunds[c]) for c in CURRENCIES]
    table = evidence.table(("currency", "decimals", "refunded in steps of", "orders", "refunds"), rows)
    told = (
        f"{sum(made.values())} orders, {sum(refunds.values())} refunds by lines and amounts, seed 2: each order's sum to"
        " what was paid, by tender and by share; none was more than was captured, and no part was negative."
    )
    asked = ", ".join(f"{count} {code}" for code, count in sorted(refused.items()))
    evidence.keep("Shares", [told, f"refused on the way: {asked}", "", *table], document=evidence.REFUNDS)
    assert sum(made.values()) >= 10_000
    assert made.keys() == set(CURRENCIES)
