"""Money: integer minor units and a currency, with Stripe's idea of minor units, which is not ISO's.

Source: Stripe, "Supported currencies": zero-decimal currencies, special cases, minimum and maximum charge amounts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Final

ZERO_DECIMAL: Final = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
THREE_DECIMAL: Final = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
"""Rounded to the nearest ten: 5.124 KWD are sent as 5120."""
WHOLE_UNITS_ONLY: Final = frozenset({"isk", "ugx"})
"""Sent with two decimals that must be zero, although nobody uses them."""

SUPPORTED: Final = (
    frozenset(
        [
            "usd",
            "aed",
            "afn",
            "all",
            "amd",
            "aoa",
            "ars",
            "aud",
            "awg",
            "azn",
            "bam",
            "bbd",
            "bdt",
            "bgn",
            "bmd",
            "bnd",
            "bob",
            "brl",
            "bsd",
            "bwp",
            "byn",
            "bzd",
            "cad",
            "cdf",
            "chf",
            "cny",
            "cop",
            "crc",
            "cve",
            "czk",
            "dkk",
            "dop",
            "dzd",
            "egp",
            "etb",
            "eur",
            "fjd",
            "fkp",
            "gbp",
            "gel",
            "gip",
            "gmd",
            "gtq",
            "gyd",
            "hkd",
            "hnl",
            "htg",
            "huf",
            "idr",
            "ils",
            "inr",
            "isk",
            "jmd",
            "kes",
            "kgs",
            "khr",
            "kyd",
            "kzt",
            "lak",
            "lbp",
            "lkr",
            "lrd",
            "lsl",
            "mad",
            "mdl",
            "mkd",
            "mmk",
            "mnt",
            "mop",
            "mur",
            "mvr",
            "mwk",
            "mxn",
            "myr",
            "mzn",
            "nad",
            "ngn",
            "nio",
            "nok",
            "npr",
            "nzd",
            "pab",
            "pen",
            "pgk",
            "php",
            "pkr",
            "pln",
            "qar",
            "ron",
            "rsd",
            "rub",
            "sar",
            "sbd",
            "scr",
            "sek",
            "sgd",
            "shp",
            "sle",
            "sos",
            "srd",
            "std",
            "szl",
            "thb",
            "tjs",
            "top",
            "try",
            "ttd",
            "twd",
            "tzs",
            "uah",
            "ugx",
            "uyu",
            "uzs",
            "wst",
            "xcd",
            "yer",
            "zar",
            "zmw",
        ]
    )
    | ZERO_DECIMAL
    | THREE_DECIMAL
)
"""Currencies that can be charged; which of them an account may use, Stripe decides by its country."""

MINIMUM_MINOR: Final[Mapping[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(["usd", "eur", "cad", "aud", "chf", "brl", "inr", "nzd", "sgd"], 50),
        "gbp": 30,
        "jpy": 50,
        "krw": 50,
        "mxn": 1000,
        "thb": 1000,
        "czk": 1500,
        "dkk": 250,
        "hkd": 400,
        "huf": 17500,
        "nok": 300,
        "sek": 300,
        "pln": 200,
        "ron": 200,
        "aed": 200,
        "myr": 200,
    }
)
MAXIMUM_MINOR: Final = 99_999_999
"""Our own cap by default, and Stripe's for most currencies."""


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies were to be one."""


class NotChargeable(ValueError):
    """The amount cannot be charged; `code` says why: total_too_small, total_too_large, currency_not_supported."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """`amount_minor` may be negative, as a difference can be."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise TypeError("an amount is an integer of minor units")
        exponent(self.currency)

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount_minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount_minor - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount_minor, self.currency)

    def __mul__(self, quantity: int) -> "Money":
        if type(quantity) is not int:
            raise TypeError("money is multiplied by whole quantities only")
        return Money(self.amount_minor * quantity, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount_minor < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.amount_minor <= self._same(other)

    def _same(self, other: "Money") -> int:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")
        return other.amount_minor


def exponent(currency: str) -> int:
    """Decimals of the minor unit as Stripe counts them: 0, 2 or 3.

    Raises:
        ValueError: not a currency in lower case that Stripe knows.
    """
    if currency in ZERO_DECIMAL:
        return 0
    if currency in THREE_DECIMAL:
        return 3
    if currency in SUPPORTED:
        return 2
    raise ValueError(f"unknown currency {currency!r}")


def payable_unit(currency: str) -> int:
    """The smallest difference between two amounts that can be charged, in minor units.

    Krónur and Ugandan shillings have no parts that anybody could pay. Of currencies with three decimals card networks
    take two: the last digit must be zero.
    """
    if currency in WHOLE_UNITS_ONLY:
        return 100
    return 10 if currency in THREE_DECIMAL else 1


def allocate(total_minor: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Split `total_minor` in proportion to `weights`, exactly.

    The parts sum to the total; each differs from its exact share by less than one unit. What is left over goes to
    the largest remainders, the first of equals.

    Raises:
        ValueError: a weight is negative, or all are zero while the total is not.
    """
    if total_minor < 0:
        return tuple(-part for part in allocate(-total_minor, weights))
    whole = sum(weights)
    if any(weight < 0 for weight in weights) or (whole == 0 and total_minor != 0):
        raise ValueError("weights must be positive")
    if whole == 0:
        return tuple(0 for _ in weights)
    parts = [total_minor * weight // whole for weight in weights]
    remainders = [total_minor * weight % whole for weight in weights]
    by_size = sorted(range(len(weights)), key=lambda index: (-remainders[index], index))
    for index in by_size[: total_minor - sum(parts)]:
        parts[index] += 1
    return tuple(parts)


def percentage(amount_minor: int, basis_points: int) -> int:
    """`basis_points` hundredths of a percent of a non-negative amount, rounded half up."""
    if amount_minor < 0 or not 0 <= basis_points <= 10_000:
        raise ValueError("a share is taken of a non-negative amount, between 0 and 100 percent")
    return (amount_minor * basis_points + 5_000) // 10_000


def check_chargeable(money: Money, *, maximum_minor: int = MAXIMUM_MINOR) -> None:
    """Refuse what Stripe would refuse, before calling it.

    Raises:
        NotChargeable: the currency, the amount, or decimals that must be zero.
    """
    if money.currency not in SUPPORTED:
        raise NotChargeable("currency_not_supported", f"{money.currency.upper()} cannot be charged.")
    minimum = MINIMUM_MINOR.get(money.currency, 1)
    if money.amount_minor < minimum:
        raise NotChargeable("total_too_small", f"The smallest charge is {minimum} minor units.")
    if money.amount_minor > min(maximum_minor, 999_999_999_999):
        raise NotChargeable("total_too_large", f"The largest charge is {maximum_minor} minor units.")
    if money.amount_minor % (unit := payable_unit(money.currency)):
        detail = f"{money.currency.upper()} is charged in multiples of {unit} minor units."
        raise NotChargeable("not_payable", detail)


def to_decimal(money: Money) -> Decimal:
    """The amount in major units, exact."""
    return Decimal(money.amount_minor).scaleb(-exponent(money.currency))


def to_minor(amount: Decimal, currency: str) -> int:
    """Major units as minor ones.

    Raises:
        ValueError: finer than the currency's smallest unit, or no finite number.
    """
    scaled = amount.scaleb(exponent(currency)) if amount.is_finite() else amount
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"{amount} has more decimals than {currency} allows")
    return int(scaled)


@cache
def currency_of(country: str) -> str | None:
    """The currency that is legal tender in a country now, if it can be charged. `country` is ISO 3166, upper case."""
    from babel.core import get_global
    from babel.numbers import get_territory_currencies

    if country not in get_global("territory_currencies"):
        return None
    current = [code.lower() for code in get_territory_currencies(country)]
    return next((code for code in current if code in SUPPORTED), None)


def format_money(money: Money, locale: str = "en-US") -> str:
    """The amount as people of `locale` write it. For display only."""
    from babel import Locale, UnknownLocaleError
    from babel.numbers import format_currency

    try:
        parsed = Locale.parse(locale, sep="-")
    except (UnknownLocaleError, ValueError):
        parsed = Locale.parse("en_US")
    digits = 0 if money.currency in WHOLE_UNITS_ONLY else exponent(money.currency)
    pattern = (
        parsed.currency_formats["standard"]
        .pattern.split(";")[0]
        .replace("0.00", "0." + "0" * digits)
        .replace("0. ", "0 ")
    )
    return str(
        format_currency(
            to_decimal(money),
            money.currency.upper(),
            format=pattern.rstrip("."),
            locale=parsed,
            currency_digits=False,
        )
    )
