"""`payctl`: the operators' command line. It speaks to services' admin ports with the operator's own token. Two commands
do not: `payctl audit` reads the database as `auditor`, and `payctl dlq drain` speaks to the broker as operations."""

import os

import typer

from operations.payctl import (
    acting,
    audit,
    catalog,
    checkouts,
    credit,
    draining,
    editing,
    looking,
    orders,
    refund_rules,
    stripe,
)
from operations.payctl.app import app

__all__ = ["app", "main"]

dlq = typer.Typer(no_args_is_help=True, help="Dead letters: see them, send them back.")
dlq.command("summary")(looking.summary)
dlq.command("groups")(looking.groups)
dlq.command("list")(looking.list_)
dlq.command("show")(looking.show)
dlq.command("replay")(acting.replay)
dlq.command("watch")(acting.watch)
dlq.command("pause")(acting.pause)
dlq.command("resume")(acting.resume)
dlq.command("cancel")(acting.cancel)
dlq.command("discard")(acting.discard)
dlq.command("edit")(editing.edit)
dlq.command("export")(looking.export)
dlq.command("drain")(draining.drain)
app.add_typer(dlq, name="dlq")
app.add_typer(stripe.stripe, name="stripe")
app.add_typer(catalog.catalog, name="catalog")
app.add_typer(checkouts.checkouts, name="checkouts")
app.add_typer(credit.credit, name="credit")
app.add_typer(orders.order, name="order")
app.add_typer(refund_rules.refund_rules, name="refund-rules")
app.command("audit")(audit.audit)


def main() -> None:
    """The entry point."""
    os.environ.setdefault("PYTHONUTF8", "1")
    app()
