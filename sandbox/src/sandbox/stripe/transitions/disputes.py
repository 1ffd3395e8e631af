"""Disputes: a buyer's bank takes the money back, and a decision ends it."""

from typing import Final

from sandbox.stripe import objects
from sandbox.stripe.errors import invalid
from sandbox.stripe.machine import Machine
from sandbox.stripe.objects.afterwards import EVIDENCE_SECONDS
from sandbox.stripe.store import Json

OPEN: Final = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
AWAITED: Final = ("needs_response", "warning_needs_response")
INQUIRIES: Final = ("warning_needs_response", "warning_under_review")


def open_by_card(machine: Machine, taken: Json, quirk: str | None) -> None:
    """Some test cards are disputed as soon as they are charged."""
    if quirk in ("dispute", "inquiry"):
        create(machine, taken, "fraudulent", inquiry=quirk == "inquiry")


def create(machine: Machine, taken: Json, reason: str, *, amount: int | None = None, inquiry: bool = False) -> Json:
    """The bank disputes a charge, or `amount` of it. An inquiry only asks: no money moves yet."""
    if taken["disputed"] or not taken["captured"]:
        raise invalid("This charge cannot be disputed.")
    wanted = taken["amount_captured"] if amount is None else amount
    if not 0 < wanted <= taken["amount_captured"]:
        raise invalid("Nobody disputes more than was taken.", param="amount")
    made = objects.dispute(machine.store, taken, reason, amount=wanted, inquiry=inquiry)
    taken["disputed"] = True
    machine.store.put("charge", taken)
    machine.emit("charge.dispute.created", made)
    if not inquiry:
        machine.emit("charge.dispute.funds_withdrawn", made)
    return made


def escalate(machine: Machine, dispute: Json) -> Json:
    """An inquiry becomes a dispute: the bank takes the money, and evidence is due anew."""
    if dispute["status"] not in INQUIRIES:
        raise invalid("Only an inquiry can be escalated.")
    previous: Json = {"status": dispute["status"], "is_charge_refundable": dispute["is_charge_refundable"]}
    details = {"due_by": machine.store.now() + EVIDENCE_SECONDS, "has_evidence": False, "submission_count": 0}
    dispute.update(status="needs_response", is_charge_refundable=False)
    dispute["evidence_details"] = {**dispute["evidence_details"], **details}
    machine.store.put("dispute", dispute)
    machine.emit("charge.dispute.updated", dispute, previous=previous)
    machine.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def withdrawn(machine: Machine, taken: Json) -> tuple[int, bool]:
    """How much of a charge disputes that were lost have taken, and whether one is open in which money was taken."""
    if not taken["disputed"]:
        return 0, False
    of_charge = [one for one in machine.store.all("dispute") if one["charge"] == taken["id"]]
    lost = sum(one["amount"] for one in of_charge if one["status"] == "lost")
    return lost, any(one["status"] in OPEN and one["status"] not in INQUIRIES for one in of_charge)


def check_awaited(machine: Machine, dispute: Json) -> None:
    """Refuse evidence that no bank takes: once it has some, or when it was due before."""
    _check_open(dispute)
    if dispute["status"] not in AWAITED:
        raise invalid("The evidence of this dispute was submitted, which can be done once.")
    if machine.store.now() > dispute["evidence_details"]["due_by"]:
        raise invalid("The evidence of this dispute was due before.")


def stage(machine: Machine, dispute: Json) -> Json:
    """Evidence lies ready, and is sent to nobody yet."""
    previous: Json = {"evidence_details": dispute["evidence_details"]}
    dispute["evidence_details"] = {**dispute["evidence_details"], "has_evidence": True}
    machine.store.put("dispute", dispute)
    machine.emit("charge.dispute.updated", dispute, previous=previous)
    return dispute


def submit(machine: Machine, dispute: Json) -> Json:
    """Evidence was handed in."""
    previous: Json = {"status": dispute["status"]}
    dispute["status"] = "warning_under_review" if dispute["status"] in INQUIRIES else "under_review"
    details = dispute["evidence_details"]
    count = details["submission_count"] + 1
    dispute["evidence_details"] = {**details, "has_evidence": True, "submission_count": count}
    machine.store.put("dispute", dispute)
    machine.emit("charge.dispute.updated", dispute, previous=previous)
    return dispute


def close(machine: Machine, dispute: Json, *, won: bool) -> Json:
    """The decision: won gives the money back, also of a dispute that was lost before; lost keeps it gone; an inquiry
    just ends."""
    if not (won and dispute["status"] == "lost"):
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
