"""What a session comes to: its lines, the discount, the way to ship that was chosen, and the tax where the buyer is."""

from typing import Final

from sandbox.stripe import taxes
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json
from sandbox.stripe.taxes import Taxable

HOME: Final = {
    "city": "London",
    "country": "GB",
    "line1": "12 St James's Square",
    "line2": None,
    "postal_code": "SW1Y 4JH",
    "state": None,
}
BILLED: Final = {
    **HOME,
    "city": "Oakland",
    "country": "US",
    "line1": "1 Broadway",
    "postal_code": "94607",
    "state": "CA",
}


def address_of(machine: Machine, session: Json) -> Json:
    """Where the buyer is, or wants his goods, as he typed it or as the page would have it."""
    typed: Json = machine.store.objects["req_" + session["id"]].get("address") or {}
    collected = session["shipping_address_collection"]
    if collected is None:
        return {**BILLED, **typed}
    allowed = collected["allowed_countries"]
    usual = HOME if "GB" in allowed else {**BILLED, "country": allowed[0]}
    if usual["country"] not in ("GB", "US"):
        usual = {**usual, "state": None}
    return {**usual, **typed}


def choose(machine: Machine, session: Json, *, address: Json, rate: str | None) -> None:
    """The buyer typed his address, or some of it, and chose a way to ship."""
    hidden = machine.store.objects["req_" + session["id"]]
    chosen: Json = {"address": address} if address else {}
    if rate is not None and any(one["id"] == rate for one in hidden.get("shipping", ())):
        chosen["rate"] = rate
    if chosen:
        machine.store.put("_session_request", {**hidden, **chosen})


def settle(machine: Machine, session: Json) -> None:
    """Tell the session what it comes to, now that everything is known."""
    if session["mode"] != "payment":
        return
    hidden = machine.store.objects["req_" + session["id"]]
    enabled = session["automatic_tax"]["enabled"]
    place = taxes.place_of(address_of(machine, session), "automatic_tax") if enabled else None
    sum_up(session, hidden, place)
    machine.store.put("_session_request", hidden)
    machine.store.put("checkout.session", session)


def sum_up(session: Json, hidden: Json, place: taxes.Place | None) -> None:
    """Add everything up; `place` None: no tax is known."""
    currency, lines = session["currency"], hidden["line_items"]
    added = contained = 0
    for line, facts in zip(lines, hidden.get("taxed", [{}] * len(lines)), strict=True):
        amount = line["amount_subtotal"] - line["amount_discount"]
        one = Taxable(amount, facts.get("tax_code", taxes.GENERAL), facts.get("tax_behavior") == "inclusive")
        tax = taxes.due(place, one, currency) if place else 0
        line["amount_tax"] = tax
        line["amount_total"] = amount + (0 if one.inclusive else tax)
        added, contained = (added, contained + tax) if one.inclusive else (added + tax, contained)
    rate = _rate(hidden)
    if rate is not None:
        one = Taxable(rate["amount"], rate["tax_code"], rate["tax_behavior"] == "inclusive")
        tax = taxes.due(place, one, currency) if place else 0
        added, contained = (added, contained + tax) if one.inclusive else (added + tax, contained)
        session["shipping_cost"] = {
            "amount_subtotal": rate["amount"],
            "amount_tax": tax,
            "amount_total": rate["amount"] + (0 if one.inclusive else tax),
            "shipping_rate": rate["id"],
        }
    shipping = rate["amount"] if rate else 0
    details = session["total_details"]
    details |= {"amount_shipping": shipping, "amount_tax": added + contained}
    session["amount_total"] = session["amount_subtotal"] - details["amount_discount"] + shipping + added
    if place is not None:
        session["automatic_tax"] = {**session["automatic_tax"], "status": "complete"}


def _rate(hidden: Json) -> Json | None:
    """The way to ship that was chosen, or the first."""
    offered: list[Json] = hidden.get("shipping", [])
    chosen = hidden.get("rate")
    return next((one for one in offered if one["id"] == chosen), offered[0] if offered else None)
