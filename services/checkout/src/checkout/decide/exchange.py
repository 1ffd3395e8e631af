"""Prices in currencies that the catalogue does not name. Pure.

A converted price is rounded up to one that looks like a price: a shop never sells below its own, and nobody sees 17.03.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from types import MappingProxyType
from typing import Final

from checkout.model.carts import Exchange, Rates
from payments_shared.errors import FieldError, Refused
from payments_shared.money import WHOLE_UNITS_ONLY, Money, exponent, payable_unit, to_decimal

RATE_DAYS_MAX: Final = 4  # Easter: from Thursday's rates to Tuesday's
EURO: Final = "eur"

_LARGE_UNITS: Final = frozenset(
    ["czk", "dkk", "huf", "inr", "mxn", "nok", "php", "rub", "sek", "thb", "try", "twd", "zar", *WHOLE_UNITS_ONLY]
)
_STEPS: Final[Mapping[str, int]] = MappingProxyType({"jpy": 10, "krw": 100, "clp": 100, "vnd": 1000})
_SMALL_BELOW: Final = 10  # units: a whole one more is a lot


def exchange_of(rates: Rates | None, *, base: str, currency: str, today: date) -> Exchange:
    """How prices in `base` are converted to `currency` today.

    Raises:
        Refused: 422 `currency_not_offered`: no rate is known; 422 `rate_too_old`: the last one is older than four days.
    """
    if rates is None:
        raise _not_offered(currency)
    per_euro = {**rates.per_euro, EURO: Decimal(1)}
    if base not in per_euro or currency not in per_euro:
        raise _not_offered(currency)
    if today - rates.day > timedelta(days=RATE_DAYS_MAX):
        detail = f"The exchange rate for {currency.upper()} is of {rates.day.isoformat()}: too old to sell by."
        raise Refused("rate_too_old", detail, status=422, errors=[FieldError("/currency", detail, "rate_too_old")])
    return Exchange(base, per_euro[currency] / per_euro[base], rates.day, rates.source)


def converted(amount_minor: int, currency: str, exchange: Exchange) -> int:
    """The price of `amount_minor` of the base currency in minor units of `currency`, rounded up to a likely one."""
    exact = to_decimal(Money(amount_minor, exchange.base)) * exchange.rate
    return _charming(exact.scaleb(exponent(currency)), currency)


def _charming(minor: Decimal, currency: str) -> int:
    """The next price up: 17.99, 4.39, 4,319 Ft, 2,430 yen, 5.490 dinars."""
    step, below = _rounding(minor, currency)
    steps = ((minor + below) / step).to_integral_value(ROUND_CEILING)
    return int(steps) * step - below


def _rounding(minor: Decimal, currency: str) -> tuple[int, int]:
    """Prices end `below` a multiple of `step`, in minor units."""
    if exponent(currency) == 0:
        return _STEPS.get(currency, 10), 0
    if currency in _LARGE_UNITS:
        return 1000, 100
    whole, smallest = 10 ** exponent(currency), payable_unit(currency)
    return (10 * smallest if minor < _SMALL_BELOW * whole else whole), smallest


def _not_offered(currency: str) -> Refused:
    detail = f"Not everything in the cart has a price in {currency.upper()}."
    return Refused(
        "currency_not_offered", detail, status=422, errors=[FieldError("/currency", detail, "currency_not_offered")]
    )
