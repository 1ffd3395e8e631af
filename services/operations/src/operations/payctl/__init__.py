"""`payctl`: the operators' command line. It speaks to services' internal ports, and for disputes and the report of
refunds to the front door, with the operator's own token. Three do not: `payctl audit` reads the database as `auditor`,
`payctl restore` writes it as its owner, and `payctl dlq drain` speaks to the broker as operations."""

import os

import typer

from operations.payctl import (
    acting,
    audit,
    catalog,
    checkouts,
    credit,
    disputes,
    draining,
    editing,
    evidence,
    looking,
    losing,
    orders,
    refund_report,
    refund_rules,
    restoring,
    services,
    stripe,
    switches,
)
from operations.payctl.app import app, completed

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
dlq.command("archive")(acting.archive)
dlq.command("unarchive")(acting.unarchive)
dlq.command("edit")(editing.edit)
dlq.command("export")(looking.export)
dlq.command("drain")(draining.drain)
app.add_typer(dlq, name="dlq")
app.add_typer(stripe.stripe, name="stripe")
app.add_typer(catalog.catalog, name="catalog")
app.add_typer(checkouts.checkouts, name="checkouts")
app.add_typer(credit.credit, name="credit")
app.add_typer(losing.lost_payments, name="lost-payments")
app.add_typer(orders.order, name="order")
app.add_typer(refund_rules.refund_rules, name="refund-rules")
app.add_typer(restoring.restore, name="restore")
app.add_typer(switches.switches, name="switches")
app.command("dispute-evidence")(evidence.dispute_evidence)
app.command("dispute-submit")(evidence.dispute_submit)
app.command("refund-report")(refund_report.refund_report)
app.command("audit")(audit.audit)
app.command("disputes")(disputes.disputes)
app.command("ready")(services.ready)
app.command("metrics")(services.metrics)


def main() -> None:
    """The entry point."""
    os.environ.setdefault("PYTHONUTF8", "1")
    os.environ.update(completed(os.environ))
    app()
