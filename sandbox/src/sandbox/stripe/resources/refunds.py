"""Refunds."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import params
from sandbox.stripe.errors import invalid, missing_param
from sandbox.stripe.machine import Machine, money_of
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import refunds

REASONS: Final = ("duplicate", "fraudulent", "requested_by_customer")


@dataclass(frozen=True, slots=True)
class Refunds:
    """Refunds."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "refunds", self.create),
            ("GET", "refunds", self.listed),
            ("GET", "refunds/{id}", self.one),
            ("POST", "refunds/{id}", self.update),
            ("POST", "refunds/{id}/cancel", self.cancel),
        ]

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("payment_intent", "charge", "amount", "reason", "metadata"))
        reason = given.get("reason")
        if reason is not None and reason not in REASONS:
            raise invalid(f"Invalid reason: must be one of {', '.join(REASONS)}", param="reason")
        amount = money_of(given["amount"], "amount", minimum=1) if "amount" in given else None
        taken = self._charge_of(given)
        metadata = params.texts(given, "metadata")
        return refunds.create(self.machine, taken, amount, metadata=metadata, reason=reason)

    def _charge_of(self, given: Given) -> Json:
        if "payment_intent" in given:
            intent = self.machine.get("payment_intent", given["payment_intent"], param="payment_intent")
            if not intent["latest_charge"] or intent["status"] != "succeeded":
                raise invalid(
                    f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                    param="payment_intent",
                )
            return self.machine.get("charge", intent["latest_charge"])
        if "charge" in given:
            return self.machine.get("charge", given["charge"], param="charge")
        raise missing_param("payment_intent")

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("refund", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "payment_intent", "charge"))
        return page(params.matching(self.machine.store.all("refund"), given), given, "/v1/refunds")

    def update(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("metadata",))
        found = self.one(request, given)
        before = dict(found["metadata"])
        params.change_texts(found, given)
        self.machine.store.put("refund", found)
        changed = {k: before.get(k) for k in {*before, *found["metadata"]} if before.get(k) != found["metadata"].get(k)}
        self.machine.emit("refund.updated", found, previous={"metadata": changed})
        return found

    def cancel(self, request: web.Request, given: Given) -> Json:
        found = self.one(request, given)
        if found["status"] != "requires_action":
            raise invalid("Only refunds that require action can be canceled.")
        return refunds.change(self.machine, found, "canceled")
