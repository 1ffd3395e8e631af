"""`payctl credit grant | show`: what customers are given to pay with."""

import sys
from typing import Annotated, Final
from urllib.parse import urlencode

import typer

from operations.decide.amounts import money
from operations.payctl.app import AsJson, CheckoutUrl, Json, TokenFile, call, plain, show_json, table

credit = typer.Typer(no_args_is_help=True, help="Give customers store credit, and see what they have.")

CREDITS: Final = "/admin/store-credits"
Customer = Annotated[str, typer.Argument(help="The subject of the customer's token.")]
BALANCES: Final = {
    "available": "Available",
    "reserved": "Reserved",
    "expiring": "Lost next",
    "expires_at": "At",
}
GRANTS: Final = {
    "id": "Id",
    "created_at": "Time",
    "amount": "Amount",
    "spent": "Spent",
    "expires_at": "Expires",
    "source": "Source",
    "reference": "Reference",
    "granted_by": "By",
    "note": "Note",
}
ENTRIES: Final = {
    "at": "Time",
    "kind": "What",
    "amount": "Amount",
    "order_id": "Order",
}


@credit.command()
def grant(
    customer: Customer,
    url: CheckoutUrl,
    token_file: TokenFile,
    *,
    amount_minor: Annotated[int, typer.Option(help="In minor units.")],
    currency: Annotated[str, typer.Option(help="In lower case, such as usd.")],
    reference: Annotated[str, typer.Option(help="Your own name of it: under the same one nothing is given twice.")],
    expires_at: Annotated[str | None, typer.Option(help="Until when, as in 2027-01-31T00:00:00Z.")] = None,
    note: Annotated[str, typer.Option(help="For staff alone.")] = "",
    as_json: AsJson = False,
) -> None:
    """Give a customer store credit."""
    wanted: Json = {
        "customer": customer,
        "currency": currency,
        "amount_minor": amount_minor,
        "reference": reference,
        "expires_at": expires_at,
        "note": note,
    }
    found = call(url, token_file, "POST", CREDITS, wanted)
    if as_json:
        show_json(found)
    else:
        given = money(found["amount_minor"], found["currency"])
        told = f"{given} to {plain(found['customer'])} as {plain(found['reference'])}"
        sys.stdout.write(f"{found['id']}: {told}\n")


@credit.command()
def show(customer: Customer, url: CheckoutUrl, token_file: TokenFile, *, as_json: AsJson = False) -> None:
    """What a customer has, who gave it, and the latest of what happened to it."""
    found = call(url, token_file, "GET", f"{CREDITS}?{urlencode({'customer': customer})}")
    if as_json:
        show_json(found)
        return
    table("Balances", BALANCES, [_with_amounts(one) for one in found["balances"]])
    table("Grants", GRANTS, [_with_amounts(one) for one in found["grants"]])
    table("Statement", ENTRIES, [_with_amounts(one) for one in found["entries"]])


def _with_amounts(row: Json) -> Json:
    """A row, and each of its amounts as people read it, under its name without `_minor`."""
    amounts = {name.removesuffix("_minor"): value for name, value in row.items() if name.endswith("_minor")}
    return {
        **row,
        **{name: None if value is None else money(value, row["currency"]) for name, value in amounts.items()},
    }
