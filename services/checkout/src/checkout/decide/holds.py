"""Suspicions of a payment: what keeps the goods of a paid order here, and until when. Pure.

Facts may be known before the order is paid, in any order and twice; what they add up to is the same.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from checkout.model.facts import Fact, FraudWarned, HoldLifted, ReviewSeen

APPROVED: Final = "approved"
REJECTED: Final = frozenset({"refunded", "refunded_as_fraud", "disputed"})
"""Reasons of a closed review after which the money is not ours to keep.

Source: Stripe API, Review, "closed_reason". After any other one a person must say what becomes of the order.
"""


@dataclass(frozen=True, slots=True)
class Hold:
    """One suspicion. `final`: no person lifts it, since the money has gone back or the bank has taken it."""

    cause: str
    reason: str
    over: bool
    final: bool = False


def holds_of(known: Sequence[Fact], intents: Collection[str]) -> tuple[Hold, ...]:
    """Every suspicion that there was of the payments, in the order of their causes."""
    lifted = {fact.cause for fact in known if isinstance(fact, HoldLifted)}
    closed: dict[str, set[str | None]] = {}
    for fact in known:
        if isinstance(fact, ReviewSeen) and fact.payment_intent in intents:
            closed.setdefault(f"review:{fact.review}", set()).add(fact.closed)
    found = [Hold(cause, "review", over=cause in lifted or APPROVED in reasons) for cause, reasons in closed.items()]
    # A cause of its own: a rejection is said anew, also when a person had released the order before.
    found += [
        Hold(f"{cause}:rejected", "review_rejected", over=False, final=True)
        for cause, reasons in closed.items()
        if not REJECTED.isdisjoint(reasons)
    ]
    found += [
        Hold(fact.key, "early_fraud_warning", over=fact.key in lifted)
        for fact in known
        if isinstance(fact, FraudWarned) and fact.payment_intent in intents and not fact.shipped
    ]
    return tuple(sorted(found, key=lambda hold: hold.cause))


def warned(known: Sequence[Fact], intents: Collection[str], total_minor: int) -> bool:
    """Whether the payment that settles, by these intents, goes back because its bank calls it fraud: before the goods
    have left, and only up to the amount that was allowed when the warning was heard."""
    return any(
        isinstance(fact, FraudWarned) and fact.payment_intent in intents and verdict(fact, total_minor) == "refund"
        for fact in known
    )


def verdict(fact: FraudWarned, total_minor: int) -> str:
    """What follows from a warning: `shipped` if it is too late for anything, `refund`, or `hold`."""
    if fact.shipped:
        return "shipped"
    limit = fact.refund_up_to_minor
    return "refund" if limit is not None and total_minor <= limit else "hold"
