"""Disputes: a buyer's bank takes the money back, and a decision ends it."""

from typing import Final

from sandbox.stripe import objects
from sandbox.stripe.errors import invalid
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json

OPEN: Final = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
INQUIRIES: Final = ("warning_needs_response", "warning_under_review")


def open_by_card(machine: Machine, taken: Json, quirk: str | None) -> None:
    """Some test cards are disputed as soon as they are charged."""
    if quirk in ("dispute", "inquiry"):
        create(machine, taken, "fraudulent", inquiry=quirk == "inquiry")


def create(machine: Machine, taken: Json, reason: str, *, inquiry: bool = False) -> Json:
    """The bank disputes a charge. An inquiry only asks: no money moves yet."""
    if taken["disputed"] or not taken["captured"]:
        raise invalid("This charge cannot be disputed.")
    made = objects.dispute(machine.store, taken, reason, inquiry=inquiry)
    taken["disputed"] = True
    machine.store.put("charge", taken)
    machine.emit("charge.dispute.created", made)
    if not inquiry:
        machine.emit("charge.dispute.funds_withdrawn", made)
    return made


def submit(machine: Machine, dispute: Json) -> Json:
    """Evidence was handed in."""
    _check_open(dispute)
    previous: Json = {"status": dispute["status"]}
    dispute["status"] = "warning_under_review" if dispute["status"] in INQUIRIES else "under_review"
    dispute["evidence_details"] = {**dispute["evidence_details"], "has_evidence": True, "submission_count": 1}
    machine.store.put("dispute", dispute)
    machine.emit("charge.dispute.updated", dispute, previous=previous)
    return dispute


def close(machine: Machine, dispute: Json, *, won: bool) -> Json:
    """The decision: won gives the money back, lost keeps it gone; an inquiry just ends."""
    _check_open(dispute)
    inquiry = dispute["status"] in INQUIRIES
    dispute["status"] = "won" if won else "warning_closed" if inquiry else "lost"
    machine.store.put("dispute", dispute)
    machine.emit("charge.dispute.closed", dispute)
    if won and not inquiry:
        machine.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def _check_open(dispute: Json) -> None:
    if dispute["status"] not in OPEN:
        raise invalid("This dispute is already closed.")
