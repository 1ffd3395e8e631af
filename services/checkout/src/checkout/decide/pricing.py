"""What a cart costs. Every sum is exact; a discount is never larger than what it is taken from."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from checkout.model import Coupon, Price, PricedLine, Quote, Wanted
from payments_shared.errors import FieldError, Refused
from payments_shared.money import Money, NotChargeable, check_chargeable, percentage


def merged(lines: Sequence[Wanted]) -> tuple[Wanted, ...]:
    """One line per SKU, in the order of their first mention."""
    totals: dict[str, int] = {}
    for line in lines:
        totals[line.sku] = totals.get(line.sku, 0) + line.quantity
    return tuple(Wanted(sku, quantity) for sku, quantity in totals.items())


def quote(
    lines: Sequence[Wanted],
    prices: Mapping[str, Price],
    coupon: Coupon | None,
    *,
    currency: str,
    now: datetime,
    maximum_minor: int,
) -> Quote:
    """The price of `lines` in `currency`, with `coupon` taken off.

    Raises:
        Refused: 422 naming the field: an unknown SKU, a currency in which a product is not offered, a coupon that does
            not apply, or a total that cannot be charged. 409 `coupon_exhausted`.
    """
    priced = tuple(_priced(index, line, prices.get(line.sku), currency) for index, line in enumerate(lines))
    subtotal = sum(line.amount_minor for line in priced)
    discount = discount_of(coupon, subtotal, currency=currency, now=now) if coupon else 0
    result = Quote(currency, priced, subtotal, discount, coupon.code if coupon else None)
    try:
        check_chargeable(Money(result.total_minor, currency), maximum_minor=maximum_minor)
    except NotChargeable as error:
        raise _refused(error.code, str(error), "/lines") from None
    return result


def _priced(index: int, line: Wanted, price: Price | None, currency: str) -> PricedLine:
    if price is None or not price.active:
        raise _refused("unknown_sku", "There is no such product.", f"/lines/{index}/sku")
    if price.unit_amount_minor is None:
        raise _refused("currency_not_offered", f"This product has no price in {currency.upper()}.", "/currency")
    return PricedLine(price.sku, price.name, line.quantity, price.unit_amount_minor, price.tax_code)


def discount_of(coupon: Coupon, subtotal_minor: int, *, currency: str, now: datetime) -> int:
    """What the coupon takes off, never more than the subtotal.

    Raises:
        Refused: 422 `coupon_invalid`, or 409 `coupon_exhausted`.
    """
    if coupon.valid_from is not None and now < coupon.valid_from:
        raise _refused("coupon_invalid", "The coupon is not valid yet.", "/coupon")
    if coupon.valid_until is not None and now >= coupon.valid_until:
        raise _refused("coupon_invalid", "The coupon has expired.", "/coupon")
    if subtotal_minor < coupon.minimums.get(currency, 0):
        raise _refused("coupon_invalid", "The cart is below the coupon's minimum.", "/coupon")
    if coupon.max_redemptions is not None and coupon.held + coupon.redeemed >= coupon.max_redemptions:
        raise Refused(
            "coupon_exhausted",
            "All uses of the coupon are taken.",
            errors=[FieldError("/coupon", "All uses of the coupon are taken.", "exhausted")],
        )
    if coupon.percent_basis_points is not None:
        return percentage(subtotal_minor, coupon.percent_basis_points)
    amount = (coupon.amounts_off or {}).get(currency)
    if amount is None:
        raise _refused("coupon_invalid", f"The coupon does not apply in {currency.upper()}.", "/coupon")
    return min(amount, subtotal_minor)


def unknown_coupon() -> Refused:
    """The refusal of a code that does not exist."""
    return _refused("coupon_invalid", "There is no such coupon.", "/coupon")


def _refused(code: str, detail: str, pointer: str) -> Refused:
    return Refused(code, detail, status=422, errors=[FieldError(pointer, detail, code)])
