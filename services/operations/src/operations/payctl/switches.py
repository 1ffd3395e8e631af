"""`payctl switches show | stop | open`: new orders, refunds and mails, each of which can be stopped."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from operations.model.switches import KEEPERS, Switch
from operations.payctl.app import AsJson, Json, TokenFile, call, fail, plain, show_json, table

switches = typer.Typer(no_args_is_help=True, help="Stop new orders, refunds or mails, and let them go on.")

TURNS: Final = {"at": "Time", "state": "State", "actor": "By", "reason": "Reason"}
URLS: Final = {switch: f"PAYMENTS_{service.upper()}_URL" for switch, service in KEEPERS.items()}
Name = Annotated[Switch, typer.Argument(help="What the switch is for.")]
Url = Annotated[
    str | None,
    typer.Option(help=f"Internal URL of the service that keeps it; else by its name {', '.join(URLS.values())}."),
]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept with your name.")]
MayWhy = Annotated[str | None, typer.Option("--reason", help="Why; it is kept with your name.")]


@switches.command()
def show(name: Name, token_file: TokenFile, *, url: Url = None, as_json: AsJson = False) -> None:
    """Where a switch stands, and who turned it lately."""
    tell(name, _url(name, url), token_file, as_json=as_json)


@switches.command()
def stop(name: Name, token_file: TokenFile, *, reason: Why, url: Url = None, as_json: AsJson = False) -> None:
    """Stop it, on all instances at once. What waits is kept. Webhooks always go on."""
    turn(name, _url(name, url), token_file, "stopped", reason, as_json=as_json)


@switches.command("open")
def open_(
    name: Name, token_file: TokenFile, *, reason: MayWhy = None, url: Url = None, as_json: AsJson = False
) -> None:
    """Let it go on."""
    turn(name, _url(name, url), token_file, "open", reason, as_json=as_json)


def tell(name: Switch, url: str, token_file: Path, *, as_json: bool) -> None:
    """Print where a switch stands, with its turns."""
    found = call(url, token_file, "GET", _path(name))
    if as_json:
        show_json(found)
        return
    sys.stdout.write(_line(name, found))
    table("Turns", TURNS, found["turns"])


def turn(name: Switch, url: str, token_file: Path, to: str, reason: str | None, *, as_json: bool) -> None:
    """Turn a switch, and print where it stands."""
    found = call(url, token_file, "PUT", _path(name), {"state": to, "reason": reason})
    if as_json:
        show_json(found)
    else:
        sys.stdout.write(_line(name, found))


def _url(name: Switch, given: str | None) -> str:
    url = given or os.environ.get(URLS[name])
    if not url:
        fail(f"where is it kept? Give --url or {URLS[name]}", 2)
    return url


def _path(name: Switch) -> str:
    return f"/admin/switches/{name}"


def _line(name: Switch, found: Json) -> str:
    """Where the switch stands, in a line: since when, by whom and why, if it was ever turned."""
    if not found["turns"]:
        return f"{name}: {found['state']}\n"
    last = found["turns"][0]
    why = f": {plain(last['reason'])}" if last["reason"] else ""
    return f"{name}: {found['state']} since {last['at']} by {plain(last['actor'])}{why}\n"
