"""Customers."""

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import params
from sandbox.stripe.errors import invalid
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json, new_id

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]{2,}")


@dataclass(frozen=True, slots=True)
class Customers:
    """Customers."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "customers", self.create),
            ("GET", "customers", self.listed),
            ("GET", "customers/{id}", self.one),
            ("POST", "customers/{id}", self.update),
            ("DELETE", "customers/{id}", self.delete),
        ]

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("email", "name", "description", "metadata", "phone", "payment_method", "source"))
        if "email" in given and not _EMAIL.fullmatch(str(given["email"])):
            raise invalid(f"Invalid email address: {given['email']}", param="email", code="email_invalid")
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
