"""Refunds: made, settled, failed after all. A refund is not monotone."""

from types import MappingProxyType
from typing import Final

from payments_shared.money import Money, format_money
from sandbox.stripe import objects
from sandbox.stripe.cards import behaviour
from sandbox.stripe.errors import invalid
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import disputes

SETTLE_SECONDS: Final = 3_600  # of the simulated clock, for the cards whose refunds take their time
OVER: Final = ("failed", "canceled")  # such a refund gives its amount back to what is refundable
BEGINNINGS: Final = MappingProxyType(
    {
        "refund_pending": ("pending", "processing"),
        "refund_lacks_funds": ("pending", "insufficient_funds"),
        "refund_asks_buyer": ("requires_action", None),
    }
)
"""How refunds of some cards begin, and why they wait; all others succeed at once."""
ARROWS: Final = MappingProxyType(
    {
        "pending": ("requires_action", "succeeded", "failed", "canceled"),
        "requires_action": ("pending", "succeeded", "failed", "canceled"),
        "succeeded": ("failed",),
        "failed": (),
        "canceled": (),
    }
)


def create(machine: Machine, taken: Json, amount: int | None, *, metadata: Json, reason: str | None) -> Json:
    """Give money of a charge back, all that is left of it when no amount is given."""
    if not taken["captured"]:
        raise invalid("This PaymentIntent does not have a successful charge to refund.")
    lost, is_open = disputes.withdrawn(machine, taken)
    refundable = taken["amount_captured"] - refunded(machine, taken["id"]) - lost
    if is_open or (lost and refundable <= 0):
        raise invalid(f"Charge {taken['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    wanted = refundable if amount is None else amount
    if machine.over_refund_guard:
        _check(taken, wanted, refundable)
    quirk = behaviour(objects.number_of(machine.store, str(taken["payment_method"])))[1]
    status, pending_reason = BEGINNINGS.get(quirk or "", ("succeeded", None))
    made = objects.refund(
        machine.store,
        taken,
        taken["payment_intent"],
        amount=wanted,
        status=status,
        metadata=metadata,
        reason=reason,
        pending_reason=pending_reason,
    )
    if quirk in ("refund_pending", "refund_fails"):
        machine.schedule(quirk, made["id"], machine.store.now() + SETTLE_SECONDS)
    machine.store.put("_refunds_of", {"id": "rfs_" + taken["id"], "ids": [*_ids(machine, taken["id"]), made["id"]]})
    _count(machine, taken)
    machine.emit("refund.created", made)
    machine.emit("charge.refunded", taken)
    return made


def _check(taken: Json, wanted: int, refundable: int) -> None:
    if refundable <= 0:
        raise invalid(f"Charge {taken['id']} has already been refunded.", code="charge_already_refunded")
    if wanted > refundable:
        asked, rest = (format_money(Money(a, taken["currency"]), "en-US") for a in (wanted, refundable))
        raise invalid(f"Refund amount ({asked}) is greater than unrefunded amount on charge ({rest})", param="amount")


def change(machine: Machine, made: Json, status: str, failure_reason: str | None = None) -> Json:
    """A refund moves on: succeeded, failed (also after it had succeeded) or canceled."""
    if status not in ARROWS[made["status"]]:
        raise invalid(f"A refund that is {made['status']} cannot become {status}.")
    previous: Json = {"status": made["status"]}
    made["status"] = status
    for waited in ("pending_reason", "next_action"):
        if waited in made:
            previous[waited] = made.pop(waited)
    if status == "pending":
        made["pending_reason"] = "processing"
    if status == "requires_action":
        made["next_action"] = objects.asked_by_mail(machine.store, machine.get("charge", made["charge"]))
    if status == "failed":
        made["failure_reason"] = failure_reason or "expired_or_canceled_card"
    machine.store.put("refund", made)
    _count(machine, machine.get("charge", made["charge"]))
    machine.emit("refund.updated", made, previous=previous)
    if status == "failed":
        machine.emit("refund.failed", made)
    return made


def refunded(machine: Machine, charge_id: str) -> int:
    """How much of a charge is refunded or on its way back."""
    rows = [machine.store.objects[refund_id] for refund_id in _ids(machine, charge_id)]
    return sum(row["amount"] for row in rows if row["status"] not in OVER)


def _ids(machine: Machine, charge_id: str) -> list[str]:
    known = machine.store.find("_refunds_of", "rfs_" + charge_id)
    return list(known["ids"]) if known else []


def _count(machine: Machine, taken: Json) -> None:
    taken["amount_refunded"] = refunded(machine, taken["id"])
    taken["refunded"] = taken["amount_refunded"] >= taken["amount_captured"] > 0
    machine.store.put("charge", taken)
