"""`payctl order <id>`: its story; `payctl order release | refuse <id>`: what becomes of one that is held."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from operations.payctl.app import AsJson, Away, CheckoutUrl, Json, Refused, TokenFile, Url, ask, call, show_json, table

Reason = Annotated[str, typer.Option(help="Why; it is kept with your name.")]


class _ShowUnlessNamed(TyperGroup):
    """What is no command is the id of an order to show."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: Typer has a copy of Click of its own
        named = not args or args[0] in self.commands or args[0] == "--help"
        return super().parse_args(ctx, args if named else ["show", *args])


order = typer.Typer(cls=_ShowUnlessNamed, no_args_is_help=True, help="Show an order, or decide about a held one.")


@order.command()
def show(
    order_id: str,
    url: Url,
    token_file: TokenFile,
    *,
    checkout_url: Annotated[
        str | None,
        typer.Option(envvar="PAYMENTS_CHECKOUT_URL", help="Internal URL of checkout, which knows the risks."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The story of an order: every message about it, in order, its dead letters, and what was decided for its risks.

    What checkout does not tell of the risks is left out, with a line on stderr.
    """
    told = call(url, token_file, "GET", f"/admin/orders/{order_id}/timeline")
    if as_json:
        risk = {} if checkout_url is None else {"risk": _risks(checkout_url, token_file, order_id)}
        show_json({**told, **risk})
        return
    _show_story(order_id, told)
    if checkout_url is not None and (risks := _risks(checkout_url, token_file, order_id)):
        columns = {"at": "Time", "gate": "Gate", "outcome": "Outcome", "reasons": "Reasons"}
        table("Risks", columns, [_in_words(risk) for risk in risks])


def _show_story(order_id: str, told: Json) -> None:
    table(
        f"Order {order_id}", {"time": "Time", "type": "Message", "source": "From", "message_id": "Id"}, told["messages"]
    )
    if told["dead_letters"]:
        table(
            "Dead letters",
            {"service": "Service", "type": "Type", "status": "Status", "reason": "Reason"},
            told["dead_letters"],
        )


def _risks(url: str, token_file: Path, order_id: str) -> list[Json] | None:
    """What was decided for the risks; None where checkout does not know the order, or does not answer."""
    try:
        return list(ask(url, token_file, "GET", f"/admin/orders/{order_id}")["risk"])
    except (Refused, Away) as error:
        sys.stderr.write(f"risks are not known: {error}\n")
        return None


@order.command()
def release(order_id: str, url: CheckoutUrl, token_file: TokenFile, *, reason: Reason) -> None:
    """Let a held order go on."""
    _decide(url, token_file, order_id, "release", reason)


@order.command()
def refuse(order_id: str, url: CheckoutUrl, token_file: TokenFile, *, reason: Reason) -> None:
    """Give the money of a held order back; its goods return to the shelf once that has succeeded."""
    _decide(url, token_file, order_id, "refuse", reason)


def _decide(url: str, token_file: Path, order_id: str, verdict: str, reason: str) -> None:
    found = call(url, token_file, "POST", f"/admin/orders/{order_id}/{verdict}", {"reason": reason})
    sys.stdout.write(f"{order_id}: {verdict}d; held for: {found['held_reason'] or 'nothing'}\n")


def _in_words(risk: Json) -> Json:
    score = risk["detail"].get("risk_score")
    reasons = [*risk["reasons"], *([f"score {score}"] if score is not None else [])]
    return {**risk, "reasons": "; ".join(reasons)}
