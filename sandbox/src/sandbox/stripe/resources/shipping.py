"""What a session asks for and offers of shipping."""

from typing import Final

from sandbox.stripe import params, taxes
from sandbox.stripe.amounts import check_payable
from sandbox.stripe.errors import invalid, missing_param
from sandbox.stripe.machine import money_of
from sandbox.stripe.resources.lists import Given
from sandbox.stripe.resources.taxes import behavior
from sandbox.stripe.store import Json, new_id

OPTIONS_MAX: Final = 5
RATE: Final = ("delivery_estimate", "display_name", "fixed_amount", "metadata", "tax_behavior", "tax_code", "type")
UNITS: Final = ("business_day", "day", "hour", "month", "week")


def collection(given: Given) -> Json | None:
    """Where the page takes addresses of; None where it asks for none."""
    if "shipping_address_collection" not in given:
        return None
    asked = params.group(given, "shipping_address_collection")
    params.only(asked, ("allowed_countries",), "shipping_address_collection")
    if not asked.get("allowed_countries"):
        raise missing_param("shipping_address_collection[allowed_countries]")
    return {"allowed_countries": list(asked["allowed_countries"])}


def rates(given: Given, currency: str) -> list[Json]:
    """The rates that the page offers, each with an id of its own."""
    rows = params.rows(given, "shipping_options")
    if len(rows) > OPTIONS_MAX:
        raise invalid(f"At most {OPTIONS_MAX} shipping options are allowed.", param="shipping_options")
    return [_rate(f"shipping_options[{index}]", row, currency) for index, row in enumerate(rows)]


def _rate(where: str, row: Given, currency: str) -> Json:
    params.only(row, ("shipping_rate_data",), where)
    data, where = params.group(row, "shipping_rate_data"), f"{where}[shipping_rate_data]"
    params.only(data, RATE, where)
    if "display_name" not in data:
        raise missing_param(f"{where}[display_name]")
    if data.get("type", "fixed_amount") != "fixed_amount":
        raise invalid("Invalid type: must be fixed_amount", param=f"{where}[type]")
    amount = params.group(data, "fixed_amount")
    params.only(amount, ("amount", "currency"), f"{where}[fixed_amount]")
    for name in ("amount", "currency"):
        if name not in amount:
            raise missing_param(f"{where}[fixed_amount][{name}]")
    if str(amount["currency"]).lower() != currency:
        raise invalid("The shipping rate's currency does not match the session's.", param=f"{where}[fixed_amount]")
    cost = money_of(amount["amount"], f"{where}[fixed_amount][amount]")
    check_payable(cost, currency, f"{where}[fixed_amount][amount]")
    _estimate(params.group(data, "delivery_estimate"), f"{where}[delivery_estimate]")
    return {
        "id": new_id("shr"),
        "display_name": data["display_name"],
        "amount": cost,
        "tax_behavior": behavior(data, where),
        "tax_code": data.get("tax_code", taxes.SHIPPING),
        "metadata": params.texts(data, "metadata"),
    }


def _estimate(given: Given, where: str) -> None:
    params.only(given, ("minimum", "maximum"), where)
    for name in given:
        bound = params.group(given, name)
        params.only(bound, ("unit", "value"), f"{where}[{name}]")
        if bound.get("unit") not in UNITS:
            raise invalid(f"Invalid unit: must be one of {', '.join(UNITS)}", param=f"{where}[{name}][unit]")
        money_of(bound.get("value", 0), f"{where}[{name}][value]", minimum=1)
