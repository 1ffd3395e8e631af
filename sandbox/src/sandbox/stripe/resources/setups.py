"""Setup intents."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import params
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.canceling import checked_reason
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.resources.methods import method_of
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import setups

CREATE: Final = (
    "customer", "description", "metadata", "usage", "confirm", "payment_method", "payment_method_data",
    "payment_method_types", "payment_method_options", "automatic_payment_methods", "return_url", "mandate_data",
)  # fmt: skip
CONFIRM: Final = ("payment_method", "payment_method_data", "return_url", "mandate_data", "use_stripe_sdk")
REASONS: Final = ("abandoned", "duplicate", "requested_by_customer")
USAGES: Final = ("off_session", "on_session")


@dataclass(frozen=True, slots=True)
class Setups:
    """Setup intents."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "setup_intents", self.create),
            ("GET", "setup_intents", self.listed),
            ("GET", "setup_intents/{id}", self.one),
            ("POST", "setup_intents/{id}/confirm", self.confirm),
            ("POST", "setup_intents/{id}/cancel", self.cancel),
        ]

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, CREATE)
        usage = given.get("usage", "off_session")
        if usage not in USAGES:
            raise invalid(f"Invalid usage: must be one of {', '.join(USAGES)}", param="usage")
        if "customer" in given:
            self.machine.get("customer", str(given["customer"]), param="customer", status=400)
        confirming = params.flag(given.get("confirm", False))
        method = method_of(self.machine.store, given) if confirming else None
        types = {"payment_method_types": list(given["payment_method_types"])} if "payment_method_types" in given else {}
        made = setups.create(
            self.machine,
            customer=given.get("customer"),
            description=given.get("description"),
            metadata=params.texts(given, "metadata"),
            usage=usage,
            **types,
        )
        return made if method is None else self._confirm(made, method, given)

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("setup_intent", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "customer", "payment_method"))
        return page(params.matching(self.machine.store.all("setup_intent"), given), given, "/v1/setup_intents")

    def confirm(self, request: web.Request, given: Given) -> Json:
        params.only(given, CONFIRM)
        return self._confirm(self.one(request, given), method_of(self.machine.store, given), given)

    def _confirm(self, intent: Json, method: Json, given: Given) -> Json:
        setups.attempt(self.machine, intent, method, return_url=given.get("return_url"))
        error = intent["last_setup_error"]
        if error is not None:
            raise StripeError(
                402, "card_error", error["message"], code=error["code"], decline_code=error["decline_code"],
                payment_method=error["payment_method"], setup_intent=intent,
            )  # fmt: skip
        return intent

    def cancel(self, request: web.Request, given: Given) -> Json:
        intent = self.one(request, given)
        return setups.cancel(self.machine, intent, reason=checked_reason(self.machine, intent, given, REASONS))
