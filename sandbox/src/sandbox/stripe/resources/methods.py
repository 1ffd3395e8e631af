"""Customers and payment methods."""

from dataclasses import dataclass

from aiohttp import web

from sandbox.stripe import objects, params
from sandbox.stripe.cards import TOKENS
from sandbox.stripe.errors import invalid, missing_param, no_such
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json, Store, new_id


@dataclass(frozen=True, slots=True)
class Customers:
    """Customers and their payment methods."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "customers", self.create),
            ("GET", "customers", self.listed),
            ("GET", "customers/{id}", self.one),
            ("POST", "customers/{id}", self.update),
            ("DELETE", "customers/{id}", self.delete),
            ("POST", "payment_methods", self.create_method),
            ("GET", "payment_methods/{id}", self.method),
            ("POST", "payment_methods/{id}/attach", self.attach),
            ("POST", "payment_methods/{id}/detach", self.detach),
        ]

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("email", "name", "description", "metadata", "phone", "payment_method", "source"))
        value: Json = {
            "id": new_id("cus", 14),
            "object": "customer",
            "address": None,
            "balance": 0,
            "created": self.machine.store.now(),
            "currency": None,
            "customer_account": None,
            "default_source": None,
            "delinquent": False,
            "description": given.get("description"),
            "discount": None,
            "email": given.get("email"),
            "invoice_prefix": new_id("x", 8)[2:].upper(),
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": None,
                "footer": None,
                "rendering_options": None,
            },
            "livemode": False,
            "metadata": params.texts(given, "metadata"),
            "name": given.get("name"),
            "next_invoice_sequence": 1,
            "phone": given.get("phone"),
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": None,
        }
        self.machine.store.put("customer", value)
        self.machine.emit("customer.created", value)
        return value

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("customer", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "email"))
        return page(params.matching(self.machine.store.all("customer"), given), given, "/v1/customers")

    def update(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("email", "name", "description", "metadata", "phone"))
        return params.update(self.machine, self.one(request, given), given, "customer.updated")

    def delete(self, request: web.Request, given: Given) -> Json:
        value = self.one(request, given)
        self.machine.store.remove("customer", value["id"])
        self.machine.emit("customer.deleted", value)
        return {"id": value["id"], "object": "customer", "deleted": True}

    def create_method(self, _: web.Request, given: Given) -> Json:
        return debit_or_card(self.machine.store, given, "")

    def method(self, request: web.Request, _: Given) -> Json:
        name = request.match_info["id"]
        if name in TOKENS:
            return objects.payment_method(self.machine.store, TOKENS[name])
        return self.machine.get("payment_method", name)

    def attach(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("customer",))
        customer = self.machine.get("customer", str(given.get("customer", "")), param="customer")
        value = self.method(request, given)
        value["customer"] = customer["id"]
        self.machine.store.put("payment_method", value)
        self.machine.emit("payment_method.attached", value)
        return value

    def detach(self, request: web.Request, given: Given) -> Json:
        value = self.method(request, given)
        if value["customer"] is None:
            raise invalid("The payment method you provided is not attached to a customer.")
        previous = {"customer": value["customer"]}
        value["customer"] = None
        self.machine.store.put("payment_method", value)
        self.machine.emit("payment_method.detached", value, previous=previous)
        return value


def debit_or_card(store: Store, given: Given, where: str) -> Json:
    """A payment method from parameters: a card by number or token, or a SEPA account."""
    kind = given.get("type")
    if kind is None:
        raise missing_param(f"{where}[type]" if where else "type")
    details = params.group(given, "billing_details")
    if kind == "sepa_debit":
        number = str(params.group(given, "sepa_debit").get("iban", "")).replace(" ", "")
    elif kind == "card":
        card = params.group(given, "card")
        number = TOKENS.get(str(card.get("token", "")), str(card.get("number", "")))
    else:
        raise invalid(f"Payment methods of type {kind} are not simulated.", param="type")
    if not number:
        raise no_such("token", str(given.get("card", "")), param=kind, status=400)
    return objects.payment_method(store, number, kind=kind, name=details.get("name"), email=details.get("email"))
