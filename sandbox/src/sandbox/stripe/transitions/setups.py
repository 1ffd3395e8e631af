"""Setup intents: attempts to make a payment method ready, the bank's question, and the end."""

from typing import Final

from sandbox.stripe import objects
from sandbox.stripe.cards import DECLINE_CODES, behaviour
from sandbox.stripe.errors import unexpected_state
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json, new_id
from sandbox.stripe.transitions import methods

ATTEMPTABLE: Final = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(machine: Machine, **given: object) -> Json:
    """A new setup intent."""
    made = objects.setup_intent(machine.store, **given)
    machine.emit("setup_intent.created", made)
    return made


def attempt(
    machine: Machine,
    intent: Json,
    method: Json,
    *,
    challenged: bool | None = None,
    redisplay: str | None = None,
    return_url: str | None = None,
) -> None:
    """Make `method` ready; it is attached to the intent's customer, if it has one. `challenged` is the answer to a
    3-D Secure challenge, None before it; `return_url` is where that leads back to."""
    if intent["status"] not in ATTEMPTABLE:
        raise unexpected_state(intent, "confirm")
    number = objects.number_of(machine.store, method["id"])
    what, code = behaviour(number)
    # The answer to a challenge ends the attempt that asked for it.
    attempt_id = new_id("setatt") if challenged is None else intent["latest_attempt"]
    intent.update(payment_method=method["id"], latest_attempt=attempt_id, next_action=None)
    if what == "challenge" and challenged is None:
        _challenge(machine, intent, return_url)
    elif what == "decline" or challenged is False:
        _fail(machine, intent, method, code or "authentication_required")
    else:
        intent.update(status="succeeded", last_setup_error=None)
        machine.store.put("setup_intent", intent)
        if intent["customer"] is not None and method["customer"] is None:
            methods.attach(machine, method, intent["customer"], redisplay=redisplay)
        machine.emit("setup_intent.succeeded", intent)


def _challenge(machine: Machine, intent: Json, return_url: str | None) -> None:
    redirect = {"url": f"{machine.public_url}/c/challenge/{intent['id']}", "return_url": return_url}
    intent.update(status="requires_action", next_action={"type": "redirect_to_url", "redirect_to_url": redirect})
    machine.store.put("setup_intent", intent)
    machine.emit("setup_intent.requires_action", intent)


def _fail(machine: Machine, intent: Json, method: Json, decline_code: str) -> None:
    error = {
        "code": DECLINE_CODES.get(decline_code, "card_declined"),
        "decline_code": decline_code,
        "doc_url": "https://stripe.com/docs/error-codes/card-declined",
        "message": "Your card was declined.",
        "payment_method": method,
        "type": "card_error",
    }
    intent.update(status="requires_payment_method", payment_method=None, last_setup_error=error)
    machine.store.put("setup_intent", intent)
    machine.emit("setup_intent.setup_failed", intent)


def cancel(machine: Machine, intent: Json, *, reason: str | None) -> Json:
    """Cancel an intent that has not ended."""
    if intent["status"] not in ATTEMPTABLE:
        raise unexpected_state(intent, "cancel")
    intent.update(status="canceled", cancellation_reason=reason, next_action=None)
    machine.store.put("setup_intent", intent)
    machine.emit("setup_intent.canceled", intent)
    return intent
