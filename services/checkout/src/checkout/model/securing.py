"""From whom 3-D Secure is demanded: rules that are data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class SecureRule:
    """Demands `request` where all of its conditions hold: the total reaches the amount that `amounts` names for its
    currency, the buyer never ordered, so many of his cards were declined within the hour, he pays from one of
    `countries`. A condition that is not given always holds."""

    request: Literal["any", "challenge"]
    amounts: Mapping[str, int] = field(default_factory=dict)
    first_order: bool = False
    declines: int = 0
    countries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Buying:
    """An order that is being placed, and what is known of its buyer. `country` None: he did not say."""

    currency: str
    total_minor: int
    country: str | None
    first_order: bool
    declines: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What Stripe is asked to demand, and why."""

    request: str
    reasons: tuple[str, ...]
