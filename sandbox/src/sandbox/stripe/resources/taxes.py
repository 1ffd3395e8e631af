"""Tax calculations: what Stripe Tax says of a cart before there is a session."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import params, taxes
from sandbox.stripe.errors import invalid, missing_param
from sandbox.stripe.machine import Machine, money_of
from sandbox.stripe.resources.lists import Given, Row
from sandbox.stripe.store import Json, new_id
from sandbox.stripe.taxes import Taxable

CALCULATION: Final = ("currency", "customer_details", "line_items", "shipping_cost", "tax_date")
LINE: Final = ("amount", "metadata", "product", "quantity", "reference", "tax_behavior", "tax_code")
KEPT_SECONDS: Final = 90 * 86_400


@dataclass(frozen=True, slots=True)
class Calculations:
    """Answers of Stripe Tax."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "tax/calculations", self.create),
            ("GET", "tax/calculations/{id}", self.one),
        ]

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, CALCULATION)
        for name in ("currency", "line_items"):
            if name not in given:
                raise missing_param(name)
        currency = str(given["currency"]).lower()
        details = _customer(given)
        place = taxes.place_of(details["address"], "customer_details[address]")
        lines = [_line(index, row) for index, row in enumerate(params.rows(given, "line_items"))]
        shipping = _shipping(given)
        taxed = [(_taxable(one), taxes.due(place, _taxable(one), currency)) for one in [*lines, *shipping]]
        for one, (_taxed, amount) in zip([*lines, *shipping], taxed, strict=True):
            one["amount_tax"] = amount
        added = sum(amount for one, amount in taxed if not one.inclusive)
        value: Json = {
            "id": new_id("taxcalc", 24),
            "object": "tax.calculation",
            "amount_total": sum(one.amount for one, _amount in taxed) + added,
            "currency": currency,
            "customer": None,
            "customer_details": details,
            "expires_at": self.machine.store.now() + KEPT_SECONDS,
            "livemode": False,
            "ship_from_details": None,
            "shipping_cost": shipping[0] if shipping else None,
            "tax_amount_exclusive": added,
            "tax_amount_inclusive": sum(amount for one, amount in taxed if one.inclusive),
            "tax_breakdown": taxes.breakdown(place, taxed),
            "tax_date": self.machine.store.now(),
        }
        value["line_items"] = {
            "object": "list",
            "data": lines,
            "has_more": False,
            "url": f"/v1/tax/calculations/{value['id']}/line_items",
        }
        return self.machine.store.put("tax.calculation", value)

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("tax.calculation", request.match_info["id"])


def _customer(given: Given) -> Json:
    details = params.group(given, "customer_details")
    params.only(details, ("address", "address_source"), "customer_details")
    address = params.group(details, "address")
    params.only(address, params.ADDRESS, "customer_details[address]")
    if "country" not in address:
        raise missing_param("customer_details[address][country]")
    return {
        "address": {name: address.get(name) for name in params.ADDRESS},
        "address_source": details.get("address_source"),
        "ip_address": None,
        "tax_ids": [],
        "taxability_override": "none",
    }


def _line(index: int, row: Given) -> Json:
    where = f"line_items[{index}]"
    params.only(row, LINE, where)
    for name in ("amount", "reference"):
        if name not in row:
            raise missing_param(f"{where}[{name}]")
    return {
        "id": new_id("tax_li", 24),
        "object": "tax.calculation_line_item",
        "amount": money_of(row["amount"], f"{where}[amount]"),
        "amount_tax": 0,
        "livemode": False,
        "metadata": params.texts(row, "metadata"),
        "product": row.get("product"),
        "quantity": money_of(row.get("quantity", 1), f"{where}[quantity]", minimum=1),
        "reference": row["reference"],
        "tax_behavior": behavior(row, where) or "exclusive",
        "tax_breakdown": None,
        "tax_code": row.get("tax_code", taxes.GENERAL),
    }


def _shipping(given: Given) -> list[Json]:
    cost = params.group(given, "shipping_cost")
    params.only(cost, ("amount", "tax_behavior", "tax_code"), "shipping_cost")
    if not cost:
        return []
    if "amount" not in cost:
        raise missing_param("shipping_cost[amount]")
    return [
        {
            "amount": money_of(cost["amount"], "shipping_cost[amount]"),
            "amount_tax": 0,
            "tax_behavior": behavior(cost, "shipping_cost") or "exclusive",
            "tax_code": cost.get("tax_code", taxes.SHIPPING),
        }
    ]


def behavior(row: Given, where: str) -> str | None:
    """Whether an amount contains its tax, as far as it was said."""
    given = row.get("tax_behavior")
    if given not in (None, "exclusive", "inclusive"):
        raise invalid("Invalid tax_behavior: must be one of exclusive, inclusive", param=f"{where}[tax_behavior]")
    return given


def _taxable(one: Json) -> Taxable:
    return Taxable(one["amount"], one["tax_code"], one["tax_behavior"] == "inclusive")
