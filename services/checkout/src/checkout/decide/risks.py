"""Decisions in words that a person can check. Pure."""

from collections.abc import Mapping
from typing import Final

from checkout.decide.holds import REJECTED, verdict
from checkout.decide.securing import STRENGTH
from checkout.model.facts import Fact, FraudWarned, HoldEnded, HoldLifted, OrderRefused, ReviewSeen
from checkout.model.orders import Order
from checkout.model.risks import Attempt, Risk
from payments_shared.contracts import refunds

LEVELS: Final = frozenset({"normal", "elevated", "highest", "not_assessed"})
"""Source: Stripe API, Charge, "outcome.risk_level"."""

OUTCOMES: Final[Mapping[str, frozenset[str]]] = {
    "radar": LEVELS | {"blocked", "unknown"},
    "review": frozenset({"opened", "approved", "rejected", "left_open", "released"}),
    "early_fraud_warning": frozenset({"hold", "refund", "shipped", "released"}),
    "quarantine": frozenset({"released"}),
    "person": frozenset({"refused"}),
    "card_testing": frozenset({"expired", "held_back"}),
    "velocity": frozenset({"refused", "crowded"}),
    "three_d_secure": frozenset(STRENGTH),
    "dispute": frozenset({"inquiry", "opened", "won", "lost"}),
}
"""By gate, all that it can come to."""


def of_attempt(attempt: Attempt) -> Risk:
    """What the network and Radar made of an attempt."""
    detail = {
        "charge": attempt.charge,
        "network_status": attempt.network_status,
        "risk_level": attempt.risk_level,
        "risk_score": attempt.risk_score,
        "rule": attempt.rule,
        "seller_message": attempt.seller_message,
    }
    if attempt.type == "blocked":
        outcome = "blocked"
    else:
        outcome = attempt.risk_level if attempt.risk_level in LEVELS else "unknown"
    found = (attempt.reason, attempt.rule and f"rule {attempt.rule}", attempt.seller_message)
    state = "declined" if attempt.declined else "succeeded"
    return Risk(f"{attempt.charge}:{state}", "radar", outcome, tuple(filter(None, found)), detail)


def of_fact(fact: Fact, order: Order) -> Risk | None:
    """The decision that comes with a fact about `order`, which shows what the fact made of it; None for most facts."""
    match fact:
        case ReviewSeen(closed=None):
            return Risk(fact.key, "review", "opened", (fact.opened or "opened",), {"review": fact.review})
        case ReviewSeen(closed=str() as closed):
            outcome = "approved" if closed == "approved" else "rejected" if closed in REJECTED else "left_open"
            return Risk(fact.key, "review", outcome, (closed,), {"review": fact.review})
        case FraudWarned():
            outcome = verdict(fact, order.total_minor)
            return Risk(fact.key, "early_fraud_warning", outcome, _why(fact, order), {"warning": fact.warning})
        case HoldLifted() | HoldEnded() | OrderRefused():
            return _of_person(fact)
        case _:
            return None


def of_dispute(message: refunds.AboutDispute) -> Risk:
    """What a buyer's bank asks, took, or decided, as refunds tells it."""
    said = message.TYPE.split(".")[1]
    outcome = "inquiry" if said == "opened" and message.kind == "inquiry" else said
    amount = f"{message.amount_minor} {message.currency}"
    detail = {"dispute": message.dispute_id, "payment_intent": message.payment_intent, "version": message.version}
    return Risk(f"{message.dispute_id}:{message.version}", "dispute", outcome, (message.reason, amount), detail)


def _of_person(fact: HoldLifted | HoldEnded | OrderRefused) -> Risk | None:
    if fact.by is None:
        return None  # a deadline, or a release of before names were kept
    why = (fact.reason,) if fact.reason else ()
    match fact:
        case HoldLifted(cause=cause, by=by):
            return Risk(fact.key, cause.partition(":")[0], "released", (f"released by {by}", *why), {"cause": cause})
        case HoldEnded(by=by):
            return Risk(fact.key, "quarantine", "released", (f"released by {by}", *why))
        case OrderRefused(by=by):
            return Risk(fact.key, "person", "refused", (f"refused by {by}", *why))


def _why(fact: FraudWarned, order: Order) -> tuple[str, ...]:
    limit = fact.refund_up_to_minor
    allowed = "no refund without a person" if limit is None else f"refunds up to {limit} {order.currency}"
    return (fact.fraud_type, f"{order.total_minor} {order.currency}", "shipped" if fact.shipped else allowed)
