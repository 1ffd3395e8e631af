"""What happens to sessions, intents, charges and refunds, and which events it emits."""

import copy
from dataclasses import dataclass, field
from typing import Any

from sandbox.stripe import objects
from sandbox.stripe.errors import StripeError, invalid, no_such
from sandbox.stripe.store import Json, Store, new_id


@dataclass(slots=True)
class Machine:
    """The state machines. Every change of one request is committed together; its events are delivered afterwards."""

    store: Store
    public_url: str
    over_refund_guard: bool = True
    emitted: list[Json] = field(default_factory=list)
    request_id: str | None = None
    request_key: str | None = None

    def emit(self, type_: str, subject: Json) -> None:
        """Record an event about `subject` as it is now."""
        made = objects.event(
            self.store, type_, copy.deepcopy(subject), request_id=self.request_id, key=self.request_key
        )
        self.store.put("_delivery", {"id": "dlv_" + made["id"], "event": made["id"], "state": "waiting", "attempts": 0})
        self.emitted.append(made)

    def get(self, kind: str, object_id: str) -> Json:
        """An object, or Stripe's 404."""
        found = self.store.find(kind, object_id)
        if found is None:
            raise no_such(kind.replace(".", " "), object_id)
        return found

    # -- sessions ----------------------------------------------------------------------------------------------------

    def pay_session(
        self,
        session: Json,
        number: str,
        *,
        kind: str,
        name: str | None,
        email: str | None,
        challenged: bool | None = None,
    ) -> Json:
        """The buyer submits the page. `challenged` is the buyer's answer to a 3-D Secure challenge, None before it."""
        self.check_open(session)
        intent = self._intent_of(session)
        method = objects.payment_method(
            self.store, number, kind=kind, name=name, email=email or session["customer_email"]
        )
        intent["payment_method"] = method["id"]
        self.attempt(intent, method, number, challenged=challenged)
        if intent["status"] == "succeeded":
            self._complete(session, method, "paid")
        elif intent["status"] == "processing":
            self._complete(session, method, "unpaid")
        return intent

    def check_open(self, session: Json) -> None:
        """Refuse what a session that has ended cannot do."""
        self.expire_if_due(session)
        if session["status"] != "open":
            raise invalid(f"This Checkout Session is {session['status']}.", code="checkout_session_not_open")

    def _intent_of(self, session: Json) -> Json:
        if session["payment_intent"]:
            return self.get("payment_intent", session["payment_intent"])
        hidden = self.store.find("_session_request", "req_" + session["id"]) or {}
        intent = objects.payment_intent(
            self.store,
            amount=session["amount_total"],
            currency=session["currency"],
            payment_method_types=session["payment_method_types"],
            payment_method_options={},
            metadata=dict(hidden.get("intent_metadata", {})),
        )
        session["payment_intent"] = intent["id"]
        self.store.put("checkout.session", session)
        self.emit("payment_intent.created", intent)
        return intent

    def _complete(self, session: Json, method: Json, payment_status: str) -> None:
        session["status"] = "complete"
        session["payment_status"] = payment_status
        session["url"] = None
        details = method["billing_details"]
        session["customer_details"] = {
            "address": {**details["address"], "country": "US"},
            "business_name": None,
            "email": session["customer_email"] or details["email"],
            "individual_name": None,
            "name": details["name"],
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        }
        if session["shipping_address_collection"]:
            address = {
                "city": "London",
                "country": "GB",
                "line1": "12 St James's Square",
                "line2": None,
                "postal_code": "SW1Y 4JH",
                "state": None,
            }
            shipping = {"address": address, "name": details["name"]}
            session["collected_information"] = {
                "business_name": None,
                "individual_name": None,
                "shipping_details": shipping,
            }
        self.store.put("checkout.session", session)
        self.emit("checkout.session.completed", session)

    def expire(self, session: Json) -> Json:
        """End an open session."""
        session["status"] = "expired"
        session["url"] = None
        self.store.put("checkout.session", session)
        intent = session["payment_intent"] and self.store.find("payment_intent", session["payment_intent"])
        if intent and intent["status"] in ("requires_payment_method", "requires_action"):
            self.cancel_intent(intent, reason="automatic")
        self.emit("checkout.session.expired", session)
        return session

    def expire_if_due(self, session: Json) -> None:
        """End a session whose time has come."""
        if session["status"] == "open" and session["expires_at"] <= self.store.now():
            self.expire(session)

    def expire_due(self) -> None:
        """End all sessions whose time has come."""
        for session in self.store.all("checkout.session"):
            self.expire_if_due(session)

    def settle(self, session: Json, *, succeed: bool) -> None:
        """A delayed payment arrives, or fails for good."""
        intent = self.get("payment_intent", session["payment_intent"])
        if intent["status"] != "processing":
            raise invalid("The payment is not processing.")
        taken = self.get("charge", intent["latest_charge"])
        if succeed:
            self._succeed(intent, taken)
            session["payment_status"] = "paid"
            self.store.put("checkout.session", session)
            self.emit("checkout.session.async_payment_succeeded", session)
        else:
            taken.update(
                status="failed",
                paid=False,
                failure_code="payment_intent_payment_attempt_failed",
                failure_message="The debit failed.",
            )
            self.store.put("charge", taken)
            self._fail(intent, taken, "debit_not_authorized")
            self.emit("checkout.session.async_payment_failed", session)

    # -- intents -----------------------------------------------------------------------------------------------------

    def attempt(self, intent: Json, method: Json, number: str, *, challenged: bool | None = None) -> None:
        """Try to take the money of an intent."""
        behaviour, code = objects.CARDS.get(number, ("succeed", None))
        if method["type"] == "sepa_debit":
            taken = objects.charge(self.store, intent, method, status="pending")
            intent.update(status="processing", latest_charge=taken["id"], last_payment_error=None, next_action=None)
            self.store.put("payment_intent", intent)
            self.emit("charge.pending", taken)
            self.emit("payment_intent.processing", intent)
        elif behaviour == "challenge" and challenged is None:
            url = f"{self.public_url}/c/challenge/{intent['id']}"
            intent.update(
                status="requires_action",
                next_action={"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": None}},
            )
            self.store.put("payment_intent", intent)
            self.emit("payment_intent.requires_action", intent)
        elif behaviour == "decline" or challenged is False:
            decline = code or "authentication_required"
            taken = objects.charge(self.store, intent, method, status="failed", decline_code=decline)
            self._fail(intent, taken, decline)
        else:
            self._succeed(intent, objects.charge(self.store, intent, method, status="succeeded"))

    def _succeed(self, intent: Json, taken: Json) -> None:
        taken.update(status="succeeded", paid=True, captured=True, amount_captured=intent["amount"])
        self.store.put("charge", taken)
        intent.update(
            status="succeeded", amount_received=intent["amount"], latest_charge=taken["id"], last_payment_error=None, next_action=None
        )  # fmt: skip
        self.store.put("payment_intent", intent)
        self.emit("charge.succeeded", taken)
        self.emit("payment_intent.succeeded", intent)

    def _fail(self, intent: Json, taken: Json, decline_code: str) -> None:
        method = self.store.objects[taken["payment_method"]]
        intent.update(
            status="requires_payment_method",
            latest_charge=taken["id"],
            next_action=None,
            payment_method=None,
            last_payment_error={
                "charge": taken["id"],
                "code": objects.DECLINE_CODES.get(decline_code, "card_declined"),
                "decline_code": decline_code,
                "doc_url": "https://stripe.com/docs/error-codes/card-declined",
                "message": "Your card was declined.",
                "payment_method": method,
                "type": "card_error",
            },
        )
        self.store.put("payment_intent", intent)
        self.emit("charge.failed", taken)
        self.emit("payment_intent.payment_failed", intent)

    def cancel_intent(self, intent: Json, *, reason: str | None) -> Json:
        """Cancel an intent that took no money."""
        if intent["status"] in ("succeeded", "canceled", "processing"):
            raise invalid(
                f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
                code="payment_intent_unexpected_state",
            )
        intent.update(status="canceled", canceled_at=self.store.now(), cancellation_reason=reason, next_action=None)
        self.store.put("payment_intent", intent)
        self.emit("payment_intent.canceled", intent)
        return intent

    # -- refunds -----------------------------------------------------------------------------------------------------

    def refund(
        self, taken: Json, intent_id: str | None, amount: int | None, metadata: Json, reason: str | None
    ) -> Json:
        """Give money of a charge back."""
        if not taken["captured"]:
            raise invalid("This PaymentIntent does not have a successful charge to refund.")
        refundable = taken["amount_captured"] - self._refunded(taken["id"])
        wanted = refundable if amount is None else amount
        if self.over_refund_guard:
            if refundable <= 0:
                raise invalid(f"Charge {taken['id']} has already been refunded.", code="charge_already_refunded")
            if wanted > refundable:
                raise invalid(
                    f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({refundable})",
                    param="amount",
                )
        number = (self.store.find("_secret_number", "num_" + str(taken["payment_method"])) or {}).get("number", "")
        quirk = objects.CARDS.get(number, ("", None))[1]
        status = "pending" if quirk == "refund_pending" else "succeeded"
        made = objects.refund(
            self.store, taken, intent_id, amount=wanted, status=status, metadata=metadata, reason=reason
        )
        self._count_refunds(taken)
        self.emit("refund.created", made)
        self.emit("charge.refunded", taken)
        return made

    def change_refund(self, made: Json, status: str, failure_reason: str | None = None) -> Json:
        """A refund moves on: succeeded, failed (also after it had succeeded) or canceled."""
        made["status"] = status
        made.pop("pending_reason", None)
        if status == "failed":
            made["failure_reason"] = failure_reason or "expired_or_canceled_card"
        self.store.put("refund", made)
        self._count_refunds(self.get("charge", made["charge"]))
        self.emit("refund.failed" if status == "failed" else "refund.updated", made)
        return made

    def _refunded(self, charge_id: str) -> int:
        return sum(
            r["amount"]
            for r in self.store.all("refund")
            if r["charge"] == charge_id and r["status"] not in ("failed", "canceled")
        )

    def _count_refunds(self, taken: Json) -> None:
        taken["amount_refunded"] = self._refunded(taken["id"])
        taken["refunded"] = taken["amount_refunded"] >= taken["amount_captured"] > 0
        self.store.put("charge", taken)


def money_of(text: Any, param: str, *, minimum: int = 0) -> int:  # Any: a form value
    """A form value as an integer amount."""
    try:
        value = int(str(text))
    except ValueError:
        raise invalid(f"Invalid integer: {text}", param=param, code="parameter_invalid_integer") from None
    if value < minimum:
        raise invalid(
            f"This value must be greater than or equal to {minimum}.",
            param=param,
            code="parameter_invalid_integer",
        )
    return value


__all__ = ["Machine", "StripeError", "money_of", "new_id"]
