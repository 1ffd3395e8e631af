"""Intents and their charges: attempts, captures, cancellations, and delayed debits that arrive or do not."""

from typing import Final

from sandbox.stripe import objects
from sandbox.stripe.cards import ADVICE, BAD_IBANS, DECLINE_CODES, LATER, READY_ONCE_SAVED, behaviour, declined_later
from sandbox.stripe.errors import invalid, unexpected_state
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import disputes, suspicions

DEBIT_SECONDS: Final = 5 * 86_400  # a bank debit arrives within about five days
AUTHORIZED_SECONDS: Final = 7 * 86_400  # as long as most networks keep what is not captured
BALANCE_SECONDS: Final = 1_800  # Stripe says within an hour
MESSAGES: Final = {"authentication_required": "Your card was declined. This transaction requires authentication."}
ATTEMPTABLE: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
FINAL: Final = ("succeeded", "canceled")


def attempt(
    machine: Machine,
    intent: Json,
    method: Json,
    number: str,
    *,
    challenged: bool | None = None,
    off_session: bool = False,
    return_url: str | None = None,
) -> None:
    """Try to take the money of an intent. `challenged` is the answer to a 3-D Secure challenge, None before it. Without
    its owner (`off_session`) a card that asks for him is declined. `return_url` is where a challenge leads back to."""
    if intent["status"] not in ATTEMPTABLE:
        raise unexpected_state(intent, "confirm")
    what, code = behaviour(number)
    if method["type"] == "sepa_debit":
        _debit(machine, intent, method)
    elif challenged is None and not off_session and (what == "challenge" or _is_secured(intent)):
        _challenge(machine, intent, return_url)
    elif challenged is False:
        _fail_authentication(machine, intent, method)
    elif (
        decline := _decline_code(what, code, number, method, challenged=challenged)
        or _declined_now(machine, intent, number)
    ) is not None:
        taken = objects.charge(machine.store, intent, method, status="failed", decline_code=decline)
        fail(machine, intent, taken, decline)
    else:
        manual = intent["capture_method"] == "manual"
        taken = objects.charge(machine.store, intent, method, status="succeeded")
        if manual:
            _authorize(machine, intent, taken)
        else:
            succeed(machine, intent, taken)
            disputes.open_by_card(machine, taken, code)
            suspicions.arise_by_card(machine, taken, code)


def _is_secured(intent: Json) -> bool:
    """Whether every card has to be confirmed."""
    asked = (intent["payment_method_options"].get("card") or {}).get("request_three_d_secure")
    return asked in ("any", "challenge")


def _decline_code(what: str, code: str | None, number: str, method: Json, *, challenged: bool | None) -> str | None:
    """Why the bank says no to a charge; None when it says yes."""
    if what in ("decline", "decline_charge"):
        return code
    ready = number in READY_ONCE_SAVED and method["customer"] is not None
    return "authentication_required" if what == "challenge" and challenged is None and not ready else None


def _declined_now(machine: Machine, intent: Json, number: str) -> str | None:
    """Why a bank that changes its mind says no this time; the attempt is counted."""
    if number not in LATER:
        return None
    tries = machine.store.find("_tries", "tries_" + intent["id"]) or {"count": 0}
    machine.store.put("_tries", {"id": "tries_" + intent["id"], "count": tries["count"] + 1})
    return declined_later(number, int(tries["count"]))


def _debit(machine: Machine, intent: Json, method: Json) -> None:
    taken = objects.charge(machine.store, intent, method, status="pending")
    intent.update(status="processing", latest_charge=taken["id"], last_payment_error=None, next_action=None)
    machine.store.put("payment_intent", intent)
    machine.schedule("settle", intent["id"], machine.store.now() + DEBIT_SECONDS)
    machine.emit("charge.pending", taken)
    machine.emit("payment_intent.processing", intent)


def _challenge(machine: Machine, intent: Json, return_url: str | None) -> None:
    url = f"{machine.public_url}/c/challenge/{intent['id']}"
    redirect = {"url": url, "return_url": return_url}
    intent.update(
        status="requires_action",
        next_action={"type": "redirect_to_url", "redirect_to_url": redirect},
        last_payment_error=None,
    )
    machine.store.put("payment_intent", intent)
    machine.emit("payment_intent.requires_action", intent)


def _authorize(machine: Machine, intent: Json, taken: Json) -> None:
    taken.update(captured=False, amount_captured=0)
    machine.store.put("charge", taken)
    intent.update(
        status="requires_capture", amount_capturable=intent["amount"], latest_charge=taken["id"],
        last_payment_error=None, next_action=None,
    )  # fmt: skip
    machine.store.put("payment_intent", intent)
    machine.schedule("void", intent["id"], machine.store.now() + AUTHORIZED_SECONDS)
    machine.emit("charge.succeeded", taken)
    machine.emit("payment_intent.amount_capturable_updated", intent)


def capture(machine: Machine, intent: Json, amount: int | None) -> Json:
    """Take what was authorized, or a part of it; the rest is released."""
    if intent["status"] != "requires_capture":
        raise unexpected_state(intent, "capture")
    wanted = intent["amount_capturable"] if amount is None else amount
    if wanted > intent["amount_capturable"]:
        raise invalid("The amount is greater than what can be captured.", param="amount_to_capture")
    taken = machine.get("charge", intent["latest_charge"])
    taken.update(captured=True, amount_captured=wanted)
    machine.store.put("charge", taken)
    intent.update(status="succeeded", amount_received=wanted, amount_capturable=0)
    machine.store.put("payment_intent", intent)
    machine.schedule("balance", taken["id"], machine.store.now() + BALANCE_SECONDS)
    machine.emit("charge.captured", taken)
    machine.emit("payment_intent.succeeded", intent)
    return intent


def succeed(machine: Machine, intent: Json, taken: Json) -> None:
    """The charge has the money."""
    taken.update(status="succeeded", paid=True, captured=True, amount_captured=intent["amount"])
    machine.store.put("charge", taken)
    intent.update(
        status="succeeded",
        amount_received=intent["amount"],
        latest_charge=taken["id"],
        last_payment_error=None,
        next_action=None,
    )
    machine.store.put("payment_intent", intent)
    machine.schedule("balance", taken["id"], machine.store.now() + BALANCE_SECONDS)
    machine.emit("charge.succeeded", taken)
    machine.emit("payment_intent.succeeded", intent)


def fail(machine: Machine, intent: Json, taken: Json, decline_code: str) -> None:
    """The attempt failed; the intent waits for another payment method."""
    method = machine.store.objects[taken["payment_method"]]
    intent.update(
        status="requires_payment_method",
        latest_charge=taken["id"],
        next_action=None,
        payment_method=None,
        last_payment_error={
            "charge": taken["id"],
            "code": DECLINE_CODES.get(decline_code, "card_declined"),
            "decline_code": decline_code,
            "doc_url": "https://stripe.com/docs/error-codes/card-declined",
            "message": MESSAGES.get(decline_code, "Your card was declined."),
            "payment_method": method,
            "type": "card_error",
            **_advice(machine, method),
        },
    )
    machine.store.put("payment_intent", intent)
    machine.emit("charge.failed", taken)
    machine.emit("payment_intent.payment_failed", intent)


def _advice(machine: Machine, method: Json) -> Json:
    advice = ADVICE.get(objects.number_of(machine.store, method["id"]))
    return {"advice_code": advice} if advice else {}


def _fail_authentication(machine: Machine, intent: Json, method: Json) -> None:
    """The buyer did not answer his bank well: nothing was charged.

    Source: Stripe API, error code `payment_intent_authentication_failure`.
    """
    intent.update(
        status="requires_payment_method",
        next_action=None,
        payment_method=None,
        last_payment_error={
            "code": "payment_intent_authentication_failure",
            "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
            "message": "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a "
            "new PaymentMethod to attempt to fulfill this PaymentIntent again.",
            "payment_method": method,
            "type": "invalid_request_error",
        },
    )
    machine.store.put("payment_intent", intent)
    machine.emit("payment_intent.payment_failed", intent)


def settle(machine: Machine, intent: Json, *, success: bool) -> None:
    """A delayed debit arrives, or fails for good."""
    if intent["status"] != "processing":
        raise invalid("The payment is not processing.")
    taken = machine.get("charge", intent["latest_charge"])
    if success:
        succeed(machine, intent, taken)
        return
    taken.update(
        status="failed",
        paid=False,
        failure_code="payment_intent_payment_attempt_failed",
        failure_message="The debit failed.",
    )
    machine.store.put("charge", taken)
    fail(machine, intent, taken, "debit_not_authorized")


def arrives(machine: Machine, intent: Json) -> bool:
    """Whether the debit of an intent will arrive, by the account it comes from."""
    return objects.number_of(machine.store, str(intent["payment_method"])) not in BAD_IBANS


def balance(machine: Machine, taken: Json) -> None:
    """The fee is known some time after the payment."""
    if taken["balance_transaction"] is not None:
        return
    made = objects.balance_transaction(machine.store, taken)
    taken["balance_transaction"] = made["id"]
    machine.store.put("charge", taken)
    machine.emit("charge.updated", taken, previous={"balance_transaction": None})


def cancel(machine: Machine, intent: Json, *, reason: str | None) -> Json:
    """Cancel an intent that took no money; what was authorized is released."""
    if intent["status"] in (*FINAL, "processing"):
        raise unexpected_state(intent, "cancel")
    intent.update(
        status="canceled",
        amount_capturable=0,
        canceled_at=machine.store.now(),
        cancellation_reason=reason,
        next_action=None,
    )
    machine.store.put("payment_intent", intent)
    machine.emit("payment_intent.canceled", intent)
    return intent
