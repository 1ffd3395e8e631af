"""`payctl checkouts stop | start | status`: whether new orders are taken."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from operations.payctl.app import AsJson, CheckoutUrl, Json, TokenFile, call, plain, show_json, table

checkouts = typer.Typer(no_args_is_help=True, help="Stop taking new orders, and take them again.")

SWITCH: Final = "/admin/switches/checkouts"
TURNS: Final = {"at": "Time", "state": "State", "actor": "By", "reason": "Reason"}


@checkouts.command()
def stop(
    url: CheckoutUrl,
    token_file: TokenFile,
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept with your name.")],
    as_json: AsJson = False,
) -> None:
    """Take no new orders: they are answered 503 with Retry-After, on all instances at once.

    Webhooks, cancellations and every order that is placed go on, and repeats get their answers.
    """
    _turn(url, token_file, {"state": "stopped", "reason": reason}, as_json=as_json)


@checkouts.command()
def start(
    url: CheckoutUrl,
    token_file: TokenFile,
    *,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept with your name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take new orders again."""
    _turn(url, token_file, {"state": "open", "reason": reason}, as_json=as_json)


@checkouts.command()
def status(url: CheckoutUrl, token_file: TokenFile, *, as_json: AsJson = False) -> None:
    """Whether new orders are taken, and who stopped and started it lately."""
    found = call(url, token_file, "GET", SWITCH)
    if as_json:
        show_json(found)
        return
    sys.stdout.write(_line(found))
    table("Turns", TURNS, found["turns"])


def _turn(url: str, token_file: Path, wanted: Json, *, as_json: bool) -> None:
    found = call(url, token_file, "PUT", SWITCH, wanted)
    if as_json:
        show_json(found)
    else:
        sys.stdout.write(_line(found))


def _line(found: Json) -> str:
    """Where the switch stands, in a line: since when, by whom and why, if it was ever turned."""
    if not found["turns"]:
        return f"checkouts: {found['state']}\n"
    last = found["turns"][0]
    why = f": {plain(last['reason'])}" if last["reason"] else ""
    return f"checkouts: {found['state']} since {last['at']} by {plain(last['actor'])}{why}\n"
