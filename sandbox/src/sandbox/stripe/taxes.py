"""Stripe Tax, as far as a shop can tell: what is due in a few places, by product tax code.

Rates are round and few. Each line is rounded half up by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from sandbox.stripe.amounts import step
from sandbox.stripe.errors import invalid
from sandbox.stripe.store import Json

GENERAL: Final = "txcd_99999999"
SHIPPING: Final = "txcd_92010001"
BOOKS: Final = "txcd_35010000"
_STANDARD: Final[Mapping[str, str]] = {
    "AT": "20",
    "CH": "8.1",
    "DE": "19",
    "FR": "20",
    "GB": "20",
    "IE": "23",
    "JP": "10",
}
_REDUCED: Final[Mapping[tuple[str, str], str]] = {("DE", BOOKS): "7", ("FR", BOOKS): "5.5", ("GB", BOOKS): "0"}
_STATES: Final[Mapping[str, str]] = {"CA": "7.25", "NY": "8.875", "OR": "0", "TX": "8.25", "WA": "10.1"}


@dataclass(frozen=True, slots=True)
class Taxable:
    """One amount after its discount. `code` is the product's tax code."""

    amount: int
    code: str
    inclusive: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where the buyer is."""

    country: str
    state: str | None
    postal_code: str | None


def place_of(address: Json, where: str) -> Place:
    """The place of an address. In the United States a postal code or a state is needed."""
    place = Place(address["country"], address.get("state") or None, address.get("postal_code") or None)
    if place.country == "US" and not (place.state or place.postal_code):
        raise invalid(
            "We could not determine the customer's tax location based on the provided customer address.",
            param=where,
            code="customer_tax_location_invalid",
        )
    return place


def percent(place: Place, code: str) -> Decimal:
    """The rate that is due on a product in a place; zero where nobody collects."""
    if place.country == "US":
        return Decimal(_STATES.get(place.state or "", "0"))
    return Decimal(_REDUCED.get((place.country, code), _STANDARD.get(place.country, "0")))


def due(place: Place, one: Taxable, currency: str) -> int:
    """The tax on one amount, or in it."""
    rate = percent(place, one.code) / 100
    unit = step(currency)
    exact = Decimal(one.amount) * rate / (1 + rate if one.inclusive else 1)
    return int((exact / unit).quantize(Decimal(1), ROUND_HALF_UP)) * unit


def breakdown(place: Place, taxed: Sequence[tuple[Taxable, int]]) -> list[Json]:
    """What was found, by rate."""
    sums: dict[tuple[Decimal, bool], list[int]] = {}
    for one, amount in taxed:
        found = sums.setdefault((percent(place, one.code), one.inclusive), [0, 0])
        found[0] += amount
        found[1] += one.amount - (amount if one.inclusive else 0)
    return [
        {
            "amount": amount,
            "inclusive": inclusive,
            "tax_rate_details": {
                "country": place.country,
                "flat_amount": None,
                "percentage_decimal": f"{rate.normalize():f}",
                "rate_type": "percentage",
                "state": place.state,
                "tax_type": "sales_tax" if place.country == "US" else "vat",
            },
            "taxability_reason": "standard_rated" if rate else "zero_rated",
            "taxable_amount": base,
        }
        for (rate, inclusive), (amount, base) in sums.items()
    ]
