"""The wish to cancel a payment or setup intent."""

from collections.abc import Sequence

from sandbox.stripe import params
from sandbox.stripe.errors import invalid, name_of
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.lists import Given
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import sessions


def checked_reason(machine: Machine, intent: Json, given: Given, reasons: Sequence[str]) -> str | None:
    """Why the intent is to be canceled; refused while an open Checkout Session has it."""
    params.only(given, ("cancellation_reason",))
    reason: str | None = given.get("cancellation_reason")
    if reason is not None and reason not in reasons:
        raise invalid(f"Invalid cancellation_reason: must be one of {', '.join(reasons)}")
    session = sessions.owner(machine, intent)
    if session is not None and session["status"] == "open":
        raise invalid(
            f"You cannot cancel this {name_of(intent)}: it belongs to a Checkout Session, which can be expired instead.",
            code=f"{intent['object']}_unexpected_state",
        )
    return reason
