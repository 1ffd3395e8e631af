"""`payctl`: the operators' command line. It speaks to services' admin ports with the operator's own token; only
`payctl audit` has a database login, the read-only `auditor`."""

import os

from operations.payctl import audit, dead_letters, orders
from operations.payctl.app import app

__all__ = ["app", "main"]

app.add_typer(dead_letters.dlq, name="dlq")
app.command("order")(orders.order)
app.command("audit")(audit.audit)


def main() -> None:
    """The entry point."""
    os.environ.setdefault("PYTHONUTF8", "1")
    app()
