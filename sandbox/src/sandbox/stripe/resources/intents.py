"""Payment intents."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import objects, params
from sandbox.stripe.amounts import check_payable
from sandbox.stripe.errors import StripeError, invalid, missing_param, unexpected_state
from sandbox.stripe.machine import Machine, money_of
from sandbox.stripe.resources import offering
from sandbox.stripe.resources.canceling import checked_reason
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.resources.methods import method_of
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import intents, methods

CREATE: Final = (
    "amount", "currency", "payment_method", "payment_method_types", "confirm", "customer", "description",
    "metadata", "capture_method", "off_session", "receipt_email", "return_url", "setup_future_usage",
    "automatic_payment_methods", "payment_method_data", "payment_method_options", "shipping",
    "allowed_payment_method_types", "confirmation_method", "mandate_data",
)  # fmt: skip
CONFIRM: Final = (
    "payment_method", "return_url", "off_session", "payment_method_data", "payment_method_types", "mandate_data",
)  # fmt: skip
REASONS: Final = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")


@dataclass(frozen=True, slots=True)
class Intents:
    """Payment intents."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "payment_intents", self.create),
            ("GET", "payment_intents", self.listed),
            ("GET", "payment_intents/{id}", self.one),
            ("POST", "payment_intents/{id}", self.update),
            ("POST", "payment_intents/{id}/confirm", self.confirm),
            ("POST", "payment_intents/{id}/capture", self.capture),
            ("POST", "payment_intents/{id}/cancel", self.cancel),
        ]

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, CREATE)
        for name in ("amount", "currency"):
            if name not in given:
                raise missing_param(name)
        amount = money_of(given["amount"], "amount", minimum=1)
        check_payable(amount, str(given["currency"]).lower(), "amount")
        confirming = params.flag(given.get("confirm", False))
        if not confirming and (only := [name for name in ("off_session", "return_url") if name in given]):
            raise invalid(f"You cannot set `{only[0]}` unless you also set `confirm` to true.", param=only[0])
        if "customer" in given:
            self.machine.get("customer", str(given["customer"]), param="customer", status=400)
        method = method_of(self.machine.store, given) if confirming else None
        if method is not None:
            methods.check_usable(self.machine, method, given.get("customer"))
        extras = {"shipping": params.shipping(given, "shipping")} if "shipping" in given else {}
        if "card" in params.group(given, "payment_method_options"):
            extras["payment_method_options"] = objects.card_options(offering.card_options(given))
        made = objects.payment_intent(
            self.machine.store,
            amount=amount,
            currency=str(given["currency"]).lower(),
            description=given.get("description"),
            customer=given.get("customer"),
            metadata=params.texts(given, "metadata"),
            capture_method=given.get("capture_method", "automatic_async"),
            confirmation_method=given.get("confirmation_method", "automatic"),
            payment_method_types=list(given.get("payment_method_types", ["card"])),
            receipt_email=given.get("receipt_email"),
            **extras,
        )
        self.machine.emit("payment_intent.created", made)
        return made if method is None else self._confirm(made, method, given)

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("payment_intent", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "customer"))
        rows = [r for r in self.machine.store.all("payment_intent") if given.get("customer") in (None, r["customer"])]
        return page(rows, given, "/v1/payment_intents")

    def update(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("amount", "currency", "description", "metadata", "receipt_email", "shipping"))
        intent = self.one(request, {})
        if "amount" in given:
            if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
                raise unexpected_state(intent, "update the amount of")
            intent["amount"] = money_of(given["amount"], "amount", minimum=1)
        for name in ("description", "receipt_email"):
            if name in given:
                intent[name] = given[name] or None
        params.change_texts(intent, given)
        return self.machine.store.put("payment_intent", intent)

    def confirm(self, request: web.Request, given: Given) -> Json:
        params.only(given, CONFIRM)
        intent = self.one(request, given)
        if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
            raise unexpected_state(intent, "confirm")
        method = method_of(self.machine.store, given)
        methods.check_usable(self.machine, method, intent["customer"])
        return self._confirm(intent, method, given)

    def _confirm(self, intent: Json, method: Json, given: Given) -> Json:
        intent["payment_method"] = method["id"]
        intents.attempt(
            self.machine,
            intent,
            method,
            objects.number_of(self.machine.store, method["id"]),
            off_session=params.flag(given.get("off_session", False)),
            return_url=given.get("return_url"),
        )
        error = intent["last_payment_error"]
        if error is not None:
            raise StripeError(
                402, "card_error", error["message"], code=error["code"],
                decline_code=error["decline_code"], charge=error["charge"], payment_intent=intent,
                **({"advice_code": error["advice_code"]} if "advice_code" in error else {}),
            )  # fmt: skip
        return intent

    def capture(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("amount_to_capture", "metadata"))
        amount = given.get("amount_to_capture")
        wanted = None if amount is None else money_of(amount, "amount_to_capture", minimum=1)
        return intents.capture(self.machine, self.one(request, given), wanted)

    def cancel(self, request: web.Request, given: Given) -> Json:
        intent = self.one(request, given)
        return intents.cancel(self.machine, intent, reason=checked_reason(self.machine, intent, given, REASONS))
