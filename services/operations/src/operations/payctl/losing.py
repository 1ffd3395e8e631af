"""`payctl lost-payments list | refund`: money that was taken for orders that are not here."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlencode

import typer

from operations.decide.amounts import money
from operations.payctl.app import AsJson, CheckoutUrl, Json, TokenFile, call, fail, plain, show_json, table
from operations.payctl.selecting import DryRun, Reason

lost_payments = typer.Typer(no_args_is_help=True, help="Payments of orders that are not here, as after a restore.")

PATH: Final = "/admin/lost-payments"
Since = Annotated[str, typer.Option(help="Begun since then, such as 2026-11-24T21:00:00Z.")]
COLUMNS: Final = {
    "payment_intent": "Payment",
    "amount": "Amount",
    "left": "Left",
    "created_at": "Time",
    "order_id": "Order",
    "email": "Buyer",
    "state": "State",
}


@lost_payments.command("list")
def list_(url: CheckoutUrl, token_file: TokenFile, *, since: Since, as_json: AsJson = False) -> None:
    """What Stripe took for orders that are not here, with their buyers; also what is given back already."""
    _print("Lost payments", list(_found(url, token_file, since)), as_json=as_json)


@lost_payments.command()
def refund(
    url: CheckoutUrl,
    token_file: TokenFile,
    payments: Annotated[list[str] | None, typer.Argument(help="Payments by Stripe's names; or --since.")] = None,
    *,
    since: Annotated[str | None, typer.Option(help="All that `list` shows since then.")] = None,
    reason: Reason,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give back what is left of lost payments, each once, however often it is asked for; what came back is tried again.
    Each buyer whose address is known gets a mail when his refund has succeeded. What Stripe gave back already is only
    written down.

    Where other installations use the same Stripe account look at the list first: their orders are not here either.
    """
    if (since is None) is not bool(payments):
        fail("name payments, or --since", 2)
    if since is not None:
        wanted = [one for one in _found(url, token_file, since) if not (one["asked_for"] and one["given_back"])]
    else:
        wanted = [{"payment_intent": name} for name in payments or ()]
    left = [one for one in wanted if not one.get("given_back")]
    if dry_run:
        _print("Would be given back", left, as_json=as_json)
        return
    if since is not None and sys.stdin.isatty() and not (yes or as_json):
        _print("Lost payments", left, as_json=False)
        typer.confirm(f"give {len(left)} back?", abort=True)
    done = [
        call(url, token_file, "POST", f"{PATH}/{one['payment_intent']}/refund", {"reason": reason}) for one in wanted
    ]
    _print("Given back", done, as_json=as_json)


def _found(url: str, token_file: Path, since: str) -> Iterator[Json]:
    given = {"since": since}
    while True:
        page = call(url, token_file, "GET", f"{PATH}?{urlencode(given)}")
        yield from page["lost_payments"]
        if page["next_cursor"] is None:
            return
        given["cursor"] = page["next_cursor"]


def _print(title: str, rows: list[Json], *, as_json: bool) -> None:
    if as_json:
        show_json({"lost_payments": rows})
        return
    table(title, COLUMNS, [_row(one) for one in rows])


def _row(one: Json) -> Json:
    if "currency" not in one:
        return one
    buyer = " ".join(plain(text) for text in (one["name"], one["email"]) if text)
    amount = money(one["amount_minor"], one["currency"])
    left = money(one["amount_minor"] - one["refunded_minor"], one["currency"])
    return {**one, "amount": amount, "left": left, "email": buyer, "state": _state(one)}


def _state(one: Json) -> str:
    if one["given_back"]:
        return "given back"
    return "asked for" if one["asked_for"] else "open"
