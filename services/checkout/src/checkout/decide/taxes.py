"""What tax is due by the shop's own table, line by line. Pure.

Each line, after its share of the discount, is taxed and rounded by itself; the tax of an order is the sum of these, so
whoever adds up the lines of an invoice gets the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from checkout.model.carts import PricedLine
from checkout.model.delivery import Delivery, DeliveryTerms, Destination, Tax, TaxRate, TaxShare, TaxSource, Way
from payments_shared.errors import FieldError, Refused
from payments_shared.money import payable_unit

SHIPPING_CODE: Final = "txcd_92010001"
"""Source: Stripe Tax, "Product tax codes", shipping."""

_MILLION: Final = 1_000_000


def tax_of(
    lines: Sequence[PricedLine],
    off: Sequence[int],
    delivery: Delivery | None,
    terms: DeliveryTerms,
    *,
    destination: Destination,
    currency: str,
) -> Tax:
    """The tax on `lines`, from which `off` is taken, and on their shipping.

    Stripe's own is not known before the buyer has typed his address: zero until then.

    Raises:
        Refused: 422 `country_needed` or `region_needed`: the table cannot be read without; `region_not_listed`.
    """
    if terms.source is not TaxSource.TABLE:
        return Tax(terms.source, inclusive=terms.inclusive and terms.source is TaxSource.STRIPE)
    if destination.country is None:
        raise needed("country")
    _check_listed(terms.rates, destination)
    rates = [_rate(terms.rates, line.tax_code, destination) for line in lines]
    taxed = [
        _taxed(line.amount_minor - less, rate, currency) for line, less, rate in zip(lines, off, rates, strict=True)
    ]
    carried = _rate(terms.rates, _shipping_code(delivery), destination) if delivery else None
    shipping = _taxed(delivery.amount_minor, carried, currency) if delivery else 0
    found: dict[TaxRate, int] = {}
    for rate, amount in zip([*rates, carried], [*taxed, shipping], strict=True):
        if rate is not None:
            found[rate] = found.get(rate, 0) + amount
    return Tax(
        source=TaxSource.TABLE if found else TaxSource.NONE,
        added_minor=sum(amount for rate, amount in found.items() if not rate.inclusive),
        included_minor=sum(amount for rate, amount in found.items() if rate.inclusive),
        shares=_shares(found),
        lines_minor=tuple(taxed),
        shipping_minor=shipping,
    )


def ways_of(delivery: Delivery, terms: DeliveryTerms, *, destination: Destination, currency: str) -> tuple[Way, ...]:
    """The ways of a delivery with the tax that each adds by the table, without those for which a region is needed."""
    if terms.source is TaxSource.STRIPE:
        return tuple(replace(way, added_minor=None) for way in delivery.ways)
    if terms.source is TaxSource.NONE:
        return delivery.ways
    codes = {way: way.offer.tax_code or SHIPPING_CODE for way in delivery.ways}
    known = [way for way in delivery.ways if not _needs_region(_coded(terms.rates, codes[way]), destination)]
    return tuple(
        replace(way, added_minor=_added(way.offer.amount_minor, _rate(terms.rates, codes[way], destination), currency))
        for way in known
    )


def _added(amount_minor: int, rate: TaxRate | None, currency: str) -> int:
    return 0 if rate is not None and rate.inclusive else _taxed(amount_minor, rate, currency)


def _shares(found: dict[TaxRate, int]) -> tuple[TaxShare, ...]:
    """One for each rate that people can tell apart, in the order of their first mention."""
    sums: dict[tuple[str, int, bool], int] = {}
    for rate, amount in found.items():
        key = (rate.name, rate.rate_millionths, rate.inclusive)
        sums[key] = sums.get(key, 0) + amount
    return tuple(TaxShare(*key, amount) for key, amount in sums.items())


def _shipping_code(delivery: Delivery | None) -> str:
    return (delivery.offers[0].tax_code if delivery and delivery.offers else None) or SHIPPING_CODE


def _rate(rates: Sequence[TaxRate], tax_code: str | None, destination: Destination) -> TaxRate | None:
    """The row that fits best: one of the region before one of the country, then one of the tax code before one for all.

    Raises:
        Refused: 422 `region_needed`: some region has a row of its own, and which one it is is not known.
    """
    coded = _coded(rates, tax_code)
    if _needs_region(coded, destination):
        raise needed("region", destination.pointer)
    fitting = [rate for rate in coded if rate.region in (None, destination.region)]
    return max(fitting, key=lambda rate: (rate.region is not None, rate.tax_code is not None), default=None)


def _coded(rates: Sequence[TaxRate], tax_code: str | None) -> list[TaxRate]:
    return [rate for rate in rates if rate.tax_code in (None, tax_code)]


def _needs_region(rates: Sequence[TaxRate], destination: Destination) -> bool:
    return destination.region is None and any(rate.region is not None for rate in rates)


def _check_listed(rates: Sequence[TaxRate], destination: Destination) -> None:
    """Whether a country that is taxed by its regions alone lists this one. A region without tax has a row of zero: what
    the table does not know may be taxed."""
    listed = {rate.region for rate in rates}
    if not rates or None in listed or destination.region in listed:
        return
    if destination.region is None:
        raise needed("region", destination.pointer)
    code, detail = "region_not_listed", "The shop does not know what tax is due in this region."
    raise Refused(code, detail, status=422, errors=[FieldError(f"{destination.pointer}/region", detail, code)])


def _taxed(amount_minor: int, rate: TaxRate | None, currency: str) -> int:
    """The tax on an amount, or in it, rounded half up to what the currency can be paid in."""
    if rate is None:
        return 0
    unit = payable_unit(currency)
    whole = (_MILLION + rate.rate_millionths if rate.inclusive else _MILLION) * unit
    return (2 * amount_minor * rate.rate_millionths + whole) // (2 * whole) * unit


def needed(what: str, pointer: str = "") -> Refused:
    """The refusal where tax depends on the country or region, and none was named in the part of the request that
    `pointer` leads to."""
    code, detail = f"{what}_needed", f"Say in which {what} the buyer is: tax depends on it."
    return Refused(code, detail, status=422, errors=[FieldError(f"{pointer}/{what}", detail, code)])


def unlocated() -> Refused:
    """The refusal where Stripe Tax cannot find the place."""
    code, detail = "tax_location_invalid", "The place is not known well enough to tell the tax."
    return Refused(code, detail, status=422, errors=[FieldError("/postal_code", detail, code)])
