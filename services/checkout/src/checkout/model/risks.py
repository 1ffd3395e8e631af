"""What is known against a payment, and what was decided for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to take money from a card, as its charge shows it, or to save one: then `charge` is the attempt's id,
    or that of the payment method which was saved. `fingerprint` is the card's at Stripe; it is never stored as it is.
    `method` is its type, `failure` Stripe's code of why nothing came of it, and `rule` the id of the
    rule of Radar's that decided."""

    charge: str
    payment_intent: str | None
    declined: bool
    at: datetime
    method: str | None = None
    failure: str | None = None
    fingerprint: str | None = None
    type: str | None = None
    network_status: str | None = None
    reason: str | None = None
    risk_level: str | None = None
    risk_score: int | None = None
    rule: str | None = None
    seller_message: str | None = None


@dataclass(frozen=True, slots=True)
class Risk:
    """One decision about an order: which `gate` came to which `outcome`, and why. The key tells repetitions apart."""

    key: str
    gate: str
    outcome: str
    reasons: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)  # Any: jsonb


@dataclass(frozen=True, slots=True)
class Held:
    """How many orders are held for a reason, and for how long the one that waits longest for a person; 0: none does."""

    held_reason: str
    orders: int
    undecided_seconds: float


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it is kept."""

    at: datetime
    gate: str
    outcome: str
    reasons: list[str]
    detail: Mapping[str, Any]  # Any: jsonb
