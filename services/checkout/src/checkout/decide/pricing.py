"""What a cart costs. Every sum is exact; a discount is never larger than what it is taken from."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from checkout.decide import coupons
from checkout.model import Coupon, Price, PricedLine, Quote, Standing, Wanted
from payments_shared.errors import FieldError, Refused
from payments_shared.money import Money, NotChargeable, check_chargeable


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
    standing: Standing,
    *,
    currency: str,
    now: datetime,
    maximum_minor: int,
) -> Quote:
    """The price of `lines` in `currency`, with `coupon` taken off for a customer of this `standing`.

    Raises:
        Refused: 422 naming the field: an unknown SKU, a currency in which a product is not offered, a coupon that does
            not apply, or a total that cannot be charged. 409 `coupon_exhausted` or `coupon_used`.
    """
    priced = tuple(_priced(index, line, prices.get(line.sku), currency) for index, line in enumerate(lines))
    subtotal = sum(line.amount_minor for line in priced)
    discount = coupons.discount_of(coupon, standing, priced, currency=currency, now=now) if coupon else 0
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


def _refused(code: str, detail: str, pointer: str) -> Refused:
    return Refused(code, detail, status=422, errors=[FieldError(pointer, detail, code)])
