"""What people may give back by themselves, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits by currency, in minor units: above one, and in a currency without one, a second person decides.

    `window_days` counts from the payment; None: for ever. `final_sale`: SKUs that nobody takes back; an amount that
    would pay for them waits for a second person. From `second_person_score` on a suspicious request waits for a second
    person as well. `refund_warned_up_to`: payments that a card network warns of go back whole up to there; none in a
    currency without it.
    """

    version: int = 0
    per_refund: Mapping[str, int] = field(default_factory=dict)
    per_operator_day: Mapping[str, int] = field(default_factory=dict)
    per_customer_month: Mapping[str, int] = field(default_factory=dict)
    window_days: int | None = None
    final_sale: tuple[str, ...] = ()
    second_person_score: int = 60
    refund_warned_up_to: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One version of the rules, who made it, and why."""

    version: int
    rules: Mapping[str, object]
    before: Mapping[str, object] | None
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What went before a request, in its currency: of its requester, under any of his names, within a day, and of its
    buyer within thirty days."""

    operator_minor: int = 0
    customer_minor: int = 0
