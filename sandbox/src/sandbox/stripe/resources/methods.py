"""Payment methods."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import objects, params
from sandbox.stripe.cards import TOKENS
from sandbox.stripe.errors import invalid, missing_param, no_such
from sandbox.stripe.machine import Machine, money_of
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json, Store
from sandbox.stripe.transitions import methods

REDISPLAY: Final = ("always", "limited", "unspecified")


@dataclass(frozen=True, slots=True)
class Methods:
    """Payment methods."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "payment_methods", self.create),
            ("GET", "payment_methods", self.listed),
            ("GET", "payment_methods/{id}", self.one),
            ("POST", "payment_methods/{id}", self.update),
            ("POST", "payment_methods/{id}/attach", self.attach),
            ("POST", "payment_methods/{id}/detach", self.detach),
        ]

    def create(self, _: web.Request, given: Given) -> Json:
        return debit_or_card(self.machine.store, given, "")

    def one(self, request: web.Request, _: Given) -> Json:
        name = request.match_info["id"]
        if name in TOKENS:
            return objects.payment_method(self.machine.store, TOKENS[name])
        return self.machine.get("payment_method", name)

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "customer", "type", "allow_redisplay"))
        if "customer" in given:
            self.machine.get("customer", str(given["customer"]), param="customer", status=400)
        rows = self.machine.store.all("payment_method")
        return page(params.matching(rows, {"customer": None, **given}), given, "/v1/payment_methods")

    def update(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("metadata", "billing_details", "card", "allow_redisplay"))
        value = self.one(request, given)
        if value["customer"] is None:
            raise invalid("You must save this PaymentMethod to a customer before you can update it.")
        if given.get("allow_redisplay", "always") not in REDISPLAY:
            raise invalid(f"Invalid allow_redisplay: must be one of {', '.join(REDISPLAY)}", param="allow_redisplay")
        value["allow_redisplay"] = given.get("allow_redisplay", value["allow_redisplay"])
        details = params.group(given, "billing_details")
        params.only(details, ("email", "name", "phone"), "billing_details")
        value["billing_details"] = {
            **value["billing_details"],
            **{name: text or None for name, text in details.items()},
        }
        params.change_texts(value, given)
        card = params.group(given, "card")
        params.only(card, ("exp_month", "exp_year"), "card")
        changes = {name: money_of(text, f"card[{name}]", minimum=1) for name, text in card.items()}
        if changes and value["type"] != "card":
            raise invalid("You provided `card`, but the PaymentMethod is of another type.", param="card")
        return methods.change_card(self.machine, value, changes, "payment_method.updated")

    def attach(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("customer",))
        customer = self.machine.get("customer", str(given.get("customer", "")), param="customer")
        return methods.attach(self.machine, self.one(request, given), customer["id"])

    def detach(self, request: web.Request, given: Given) -> Json:
        return methods.detach(self.machine, self.one(request, given))


def debit_or_card(store: Store, given: Given, where: str) -> Json:
    """A payment method from parameters: a card by number or token, or a SEPA account."""
    kind = given.get("type")
    if kind is None:
        raise missing_param(f"{where}[type]" if where else "type")
    details = params.group(given, "billing_details")
    expiry = objects.EXPIRY
    if kind == "sepa_debit":
        number = str(params.group(given, "sepa_debit").get("iban", "")).replace(" ", "")
    elif kind == "card":
        card = params.group(given, "card")
        number = TOKENS.get(str(card.get("token", "")), str(card.get("number", "")))
        if "exp_month" in card and "exp_year" in card:
            parts = [money_of(card[name], f"{kind}[{name}]", minimum=1) for name in ("exp_month", "exp_year")]
            expiry = (parts[0], parts[1])
    else:
        raise invalid(f"Payment methods of type {kind} are not simulated.", param="type")
    if not number:
        raise no_such("token", str(given.get("card", "")), param=kind, status=400)
    return objects.payment_method(
        store, number, kind=kind, name=details.get("name"), email=details.get("email"), expiry=expiry
    )


def method_of(store: Store, given: Given) -> Json:
    """The payment method that a confirmation names or describes."""
    if "payment_method_data" in given:
        return debit_or_card(store, params.group(given, "payment_method_data"), "payment_method_data")
    name = str(given.get("payment_method", "pm_card_visa"))
    stored = store.find("payment_method", name)
    if stored is not None:
        return stored
    if name not in TOKENS:
        raise no_such("PaymentMethod", name, param="payment_method")
    return objects.payment_method(store, TOKENS[name])
