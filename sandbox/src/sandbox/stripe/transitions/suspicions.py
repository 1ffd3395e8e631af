"""Reviews by a person, and warnings of the card's bank."""

from typing import Final

from sandbox.stripe import objects
from sandbox.stripe.errors import invalid
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json

CLOSED: Final = (
    "acknowledged", "approved", "canceled", "disputed", "payment_never_settled", "redacted", "refunded",
    "refunded_as_fraud",
)  # fmt: skip


def arise_by_card(machine: Machine, taken: Json, quirk: str | None) -> None:
    """Some test cards are reviewed, or their bank warns of them, as soon as they are charged."""
    if quirk == "review":
        open_review(machine, taken, "rule")
    elif quirk == "warning":
        warn(machine, taken, "misc")


def open_review(machine: Machine, taken: Json, reason: str) -> Json:
    """A rule, or a person by hand, asks for a review of a charge."""
    if taken["review"]:
        raise invalid("This charge is under review already.")
    made = objects.review(machine.store, taken, reason)
    _mark(machine, taken, made["id"])
    machine.emit("review.opened", made)
    return made


def close_review(machine: Machine, review: Json, reason: str) -> Json:
    """The review is over."""
    if reason not in CLOSED:
        raise invalid(f"Invalid closed_reason: {reason}", param="closed_reason")
    if not review["open"]:
        raise invalid("This review is already closed.")
    review.update(open=False, closed_reason=reason, reason=reason)
    machine.store.put("review", review)
    _mark(machine, machine.get("charge", review["charge"]), None)
    machine.emit("review.closed", review)
    return review


def warn(machine: Machine, taken: Json, fraud_type: str) -> Json:
    """The bank tells that its cardholder knows nothing of a charge."""
    made = objects.early_fraud_warning(machine.store, taken, fraud_type)
    machine.emit("radar.early_fraud_warning.created", made)
    return made


def _mark(machine: Machine, taken: Json, review_id: str | None) -> None:
    taken["review"] = review_id
    machine.store.put("charge", taken)
    intent = taken["payment_intent"] and machine.store.find("payment_intent", taken["payment_intent"])
    if intent:
        intent["review"] = review_id
        machine.store.put("payment_intent", intent)
