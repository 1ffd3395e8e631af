"""In which currency a buyer is asked to pay. Pure."""

import re
from typing import Final

from payments_shared.money import currency_of

_REGION: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z]{4})?-([A-Za-z]{2})\Z", re.ASCII)
_LANGUAGES_MAX: Final = 20


def currencies_of(wanted: str | None, country: str | None, languages: str, default: str) -> tuple[str, ...]:
    """The currencies to try, in that order: what was asked for and nothing else; otherwise that of the country, of the
    first language of `Accept-Language` that names one, and the shop's own."""
    if wanted is not None:
        return (wanted,)
    place = country or _country(languages)
    local = currency_of(place) if place else None
    return tuple(dict.fromkeys(currency for currency in (local, default) if currency is not None))


def _country(languages: str) -> str | None:
    """The region of the most wanted language that has one. Source: RFC 9110, 12.5.4."""
    ranked = []
    for position, entry in enumerate(languages.split(",")[:_LANGUAGES_MAX]):
        tag, _, weight = entry.strip().partition(";")
        region = _REGION.match(tag.strip())
        if region and (quality := _quality(weight)) > 0:
            ranked.append((-quality, position, region.group(1).upper()))
    return min(ranked)[2] if ranked else None


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if not weight.strip():
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
