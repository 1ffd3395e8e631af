"""`payctl checkouts stop | start | status`: whether new orders are taken, by the switch of checkouts."""

from typing import Annotated

import typer

from operations.model.switches import Switch
from operations.payctl import switches
from operations.payctl.app import AsJson, CheckoutUrl, TokenFile

checkouts = typer.Typer(no_args_is_help=True, help="Stop taking new orders, and take them again.")


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
    switches.turn(Switch.CHECKOUTS, url, token_file, "stopped", reason, as_json=as_json)


@checkouts.command()
def start(
    url: CheckoutUrl,
    token_file: TokenFile,
    *,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept with your name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take new orders again."""
    switches.turn(Switch.CHECKOUTS, url, token_file, "open", reason, as_json=as_json)


@checkouts.command()
def status(url: CheckoutUrl, token_file: TokenFile, *, as_json: AsJson = False) -> None:
    """Whether new orders are taken, and who stopped and started it lately."""
    switches.tell(Switch.CHECKOUTS, url, token_file, as_json=as_json)
