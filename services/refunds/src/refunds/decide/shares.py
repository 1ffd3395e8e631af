"""How much goes back, and what for, to the unit. Pure.

Each amount is the difference between two cumulative shares, less what was given: whatever the order of partial refunds,
the last of them leaves nothing and the sum is what was paid.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from payments_shared.errors import FieldError, Refused
from payments_shared.money import allocate, payable_unit
from refunds.model.bills import (
    NOTHING,
    Active,
    Amount,
    Apportioned,
    Bill,
    Everything,
    Given,
    Pieces,
    Returned,
    Shares,
    Sum,
    Tender,
    Wish,
)

_ORDER: Final = ("goods_minor", "tax_minor", "shipping_minor")


def shares_of(bill: Bill) -> Shares:
    """The total of a bill by what it stands for."""
    return Shares(bill.subtotal_minor - bill.discount_minor, bill.tax_minor, bill.shipping_minor)


def lines_of(bill: Bill) -> list[tuple[int, int]]:
    """Goods and tax of each line: the discount is spread over the lines by their amounts, the tax over what is left of
    them and over shipping."""
    discounts = allocate(bill.discount_minor, [line.amount_minor for line in bill.lines])
    goods = [line.amount_minor - discount for line, discount in zip(bill.lines, discounts, strict=True)]
    taxed = [*goods, bill.shipping_minor]
    taxes = allocate(bill.tax_minor, taxed if any(taxed) else [1] * len(taxed))
    return list(zip(goods, taxes[:-1], strict=True))


def given_of(requests: Iterable[Active]) -> Given:
    """What requests give back together. Where a part of one failed, its shares count in proportion to what did not; its
    pieces count as returned, and what failed may go back as an amount."""
    shares, fees = NOTHING, 0
    lines: list[Returned] = []
    for request in requests:
        whole = request.sum.shares
        if not whole.total_minor:
            continue  # surplus money, which no bill speaks of
        parts = allocate(request.active_minor, [whole.goods_minor, whole.tax_minor, whole.shipping_minor])
        shares += Shares(*parts)
        lines += request.sum.lines
        fees += request.sum.fee_minor
    return Given(shares, tuple(lines), fees)


def assess(wish: Wish, bill: Bill, given: Given, refundable_minor: int) -> Sum:
    """What `wish` comes to.

    Raises:
        Refused: 409 `nothing_refundable`, `amount_exceeds_refundable` or `already_returned`, with what is left; 422
            `line_unknown`, `fee_too_large` or `not_payable`.
    """
    if refundable_minor <= 0:
        raise _too_much("nothing_refundable", "Nothing of the order can be refunded.", 0)
    left = shares_of(bill) - given.shares
    match wish:
        case Everything():
            lines = tuple(_rest(bill, given, restock=wish.restock))
            found = Sum(fit(left, left, refundable_minor), lines)
        case Amount():
            found = Sum(_pro_rata(wish.amount_minor, bill.currency, left, refundable_minor))
        case Pieces():
            found = _of_pieces(wish, bill, given, left, refundable_minor)
    return found if isinstance(wish, Amount) else _less_fee(found, wish.fee_minor, bill.currency)


def fit(wanted: Shares, left: Shares, amount_minor: int) -> Shares:
    """`amount_minor` as near to the shares of `wanted` as what is left of each allows."""
    found, missing = NOTHING, amount_minor
    for source in (wanted, left):
        for name in _ORDER:
            room = min(getattr(source, name), getattr(left, name)) - getattr(found, name)
            more = max(min(room, missing), 0)
            found = replace(found, **{name: getattr(found, name) + more})
            missing -= more
    return found


def _pro_rata(amount_minor: int, currency: str, left: Shares, refundable_minor: int) -> Shares:
    if amount_minor % (unit := payable_unit(currency)):
        raise _malformed("not_payable", "/amount_minor", f"{currency.upper()} goes back in multiples of {unit}.")
    if amount_minor > refundable_minor:
        raise _exceeding(refundable_minor)
    goods, tax, shipping = allocate(amount_minor, [left.goods_minor, left.tax_minor, left.shipping_minor])
    return Shares(goods, tax, shipping)


def _of_pieces(wish: Pieces, bill: Bill, given: Given, left: Shares, refundable_minor: int) -> Sum:
    lines = tuple(_priced(one, bill, given) for one in wish.lines)
    wanted = Shares(
        sum(line.goods_minor for line in lines),
        sum(line.tax_minor for line in lines),
        left.shipping_minor if wish.shipping else 0,
    )
    if wish.shipping and bill.shipping_minor:
        of_shipping = bill.tax_minor - sum(tax for _, tax in lines_of(bill))
        wanted += Shares(0, of_shipping * left.shipping_minor // bill.shipping_minor, 0)
    everything = _all_taken(bill, given, lines, left, shipping=wish.shipping)
    amount = wanted.total_minor if everything is None else everything
    amount -= amount % payable_unit(bill.currency)
    if amount > min(refundable_minor, left.total_minor):
        raise _exceeding(refundable_minor)
    return Sum(fit(wanted, left, amount), lines)


def _all_taken(bill: Bill, given: Given, lines: Sequence[Returned], left: Shares, *, shipping: bool) -> int | None:
    """All that is left but the fees, when no piece and no shipping stay unreturned."""
    now = {line.line: line.quantity for line in lines}
    pieces = all(given.pieces(index) + now.get(index, 0) == line.quantity for index, line in enumerate(bill.lines))
    return left.total_minor - given.fees_minor if pieces and (shipping or not left.shipping_minor) else None


def _priced(wanted: Returned, bill: Bill, given: Given) -> Returned:
    if not 0 <= wanted.line < len(bill.lines):
        raise _malformed("line_unknown", "/lines", f"The order has no line {wanted.line}.")
    line, before = bill.lines[wanted.line], given.pieces(wanted.line)
    if before + wanted.quantity > line.quantity:
        detail = f"Of line {wanted.line} {line.quantity - before} of {line.quantity} can still be returned."
        extra = {"line": wanted.line, "returnable": line.quantity - before}
        raise Refused("already_returned", detail, status=409, extra=extra)
    goods, tax = lines_of(bill)[wanted.line]
    given_goods, given_tax = given.money(wanted.line)
    upto = before + wanted.quantity
    return replace(
        wanted,
        goods_minor=max(goods * upto // line.quantity - given_goods, 0),
        tax_minor=max(tax * upto // line.quantity - given_tax, 0),
    )


def _rest(bill: Bill, given: Given, *, restock: bool) -> list[Returned]:
    rest = []
    for index, line in enumerate(bill.lines):
        if quantity := line.quantity - given.pieces(index):
            rest.append(_priced(Returned(index, quantity, restock), bill, given))
    return rest


def _less_fee(found: Sum, fee_minor: int, currency: str) -> Sum:
    if not fee_minor:
        return found
    if fee_minor % payable_unit(currency):
        raise _malformed("not_payable", "/fee_minor", "The fee has a part that nobody can pay.")
    if fee_minor >= found.amount_minor:
        raise _malformed("fee_too_large", "/fee_minor", "The fee leaves nothing to give back.")
    kept = fit(found.shares, found.shares, fee_minor)
    return replace(found, shares=found.shares - kept, fee_minor=fee_minor)


# -- tenders -----------------------------------------------------------------------------------------------------------


def refundable(tenders: Sequence[Tender]) -> int:
    """What may still go back of an order, in minor units."""
    return sum(tender.left_minor for tender in tenders)


def disputed(tenders: Sequence[Tender]) -> int:
    """What disputes withhold of an order, in minor units."""
    return sum(tender.disputed_minor for tender in tenders)


def apportion(amount_minor: int, tenders: Sequence[Tender], currency: str) -> Apportioned:
    """How much goes back to each tender: in proportion to what each paid, as far as each has it, in amounts that can be
    paid. The parts sum to `amount_minor`, which must be no more than `refundable`."""
    unit = payable_unit(currency)
    goal = sum(tender.spent_minor for tender in tenders) + amount_minor
    ideal = allocate(goal, [tender.taken_minor for tender in tenders])
    parts: dict[str, int] = {}
    missing = amount_minor
    for tender, upto in zip(tenders, ideal, strict=True):
        part = max(min(upto - tender.spent_minor, tender.left_minor, missing), 0)
        parts[tender.name] = part - part % unit
        missing -= parts[tender.name]
    for tender in tenders:
        more = min(tender.left_minor - parts[tender.name], missing)
        parts[tender.name] += more
        missing -= more
    assert missing == 0  # noqa: S101 - the caller knows what is refundable
    return {name: part for name, part in parts.items() if part}


def _exceeding(refundable_minor: int) -> Refused:
    return _too_much("amount_exceeds_refundable", "More than is left of what was paid.", refundable_minor)


def _too_much(code: str, detail: str, refundable_minor: int) -> Refused:
    return Refused(code, detail, status=409, extra={"refundable": refundable_minor})


def _malformed(code: str, pointer: str, detail: str) -> Refused:
    return Refused(code, detail, status=422, errors=[FieldError(pointer, detail, code)])
