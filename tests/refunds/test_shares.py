"""How much goes back: whatever is asked for in whatever order, the parts sum to what was paid."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments_shared.errors import Refused
from payments_shared.money import SUPPORTED, payable_unit
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
