"""`payctl refund-rules show | set | changes`: what people may give back by themselves."""

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from operations.payctl.app import AsJson, Json, RefundsUrl, TokenFile, call, fail, plain, show_json, table

refund_rules = typer.Typer(no_args_is_help=True, help="Limits of refunds, and who changed them.")

RULES: Final = "/admin/refund-rules"
LIMITS: Final = ("per_refund", "per_operator_day", "per_customer_month", "refund_warned_up_to")


@refund_rules.command()
def show(url: RefundsUrl, token_file: TokenFile, *, as_json: AsJson = False) -> None:
    """The rules that bind. `--json` prints them as `set` takes them."""
    found = call(url, token_file, "GET", RULES)
    if as_json:
        show_json(found)
        return
    sys.stdout.write(
        f"version {found['version']}; window {_days(found['window_days'])}; a second person decides above a limit, "
        f"in a currency without one, and from a score of {found['second_person_score']} on\n"
    )
    currencies = sorted({currency for name in LIMITS for currency in found[name]})
    rows = [{"currency": currency, **{name: found[name].get(currency) for name in LIMITS}} for currency in currencies]
    heads = {"currency": "Currency", **{name: name.replace("_", " ") for name in LIMITS}}
    table("Limits in minor units", heads, rows)
    if found["final_sale"]:
        sys.stdout.write(f"never taken back: {', '.join(plain(sku) for sku in found['final_sale'])}\n")


@refund_rules.command("set")
def set_(
    file: Annotated[Path, typer.Argument(help="JSON as `show --json` prints it, changed.")],
    url: RefundsUrl,
    token_file: TokenFile,
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept with your name.")],
    as_json: AsJson = False,
) -> None:
    """Make new rules of those that `show --json` printed, all of which the file must name. Refused, if somebody else
    made another version meanwhile."""
    try:
        wanted = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{file}: {error}", 2)
    if not isinstance(wanted, dict):
        fail(f"{file}: must be a JSON object", 2)
    found = call(url, token_file, "PUT", RULES, {**wanted, "reason": reason})
    if as_json:
        show_json(found)
    else:
        sys.stdout.write(f"version {found['version']} binds from now on\n")


@refund_rules.command()
def changes(url: RefundsUrl, token_file: TokenFile, *, as_json: AsJson = False) -> None:
    """Who changed the rules, when, why, and what."""
    found = call(url, token_file, "GET", f"{RULES}/changes")
    if as_json:
        show_json(found)
        return
    heads = {"version": "Version", "at": "Time", "actor": "By", "reason": "Reason", "what": "Changed"}
    table("Changes", heads, [{**change, "what": _what(change)} for change in found["changes"]])


def _days(days: int | None) -> str:
    return "for ever" if days is None else f"{days} days"


def _what(change: Json) -> str:
    """The members that differ from the version before."""
    before = change["before"] or {}
    differing = [name for name, value in change["rules"].items() if name != "version" and before.get(name) != value]
    return ", ".join(
        f"{name}: {json.dumps(before.get(name))} → {json.dumps(change['rules'][name])}" for name in differing
    )
