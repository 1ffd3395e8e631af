"""`payctl audit`."""

import asyncio
import sys
from typing import Annotated, Literal

import typer

from operations.payctl.app import AsJson, show_json


def audit(
    dsn: Annotated[str, typer.Option(envvar="PAYMENTS_AUDITOR_DATABASE_URL", help="Login of the role auditor.")],
    *,
    always: Annotated[bool, typer.Option("--always", help="Only what holds at any moment, also under load.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="The number of a predicate, such as I23; several times.")
    ] = None,
    livemode: bool = False,
    account: Annotated[list[str] | None, typer.Option(help="Stripe accounts that are ours.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every money-safety predicate in one snapshot; exit status 1 when one is violated."""
    from operations.audit import NoSuchPredicate, run_audit

    when: Literal["always", "quiescence"] = "always" if always else "quiescence"
    accounts = ["", *(account or [])]
    try:
        report = asyncio.run(run_audit(dsn, when=when, only=only or (), livemode=livemode, accounts=accounts))
    except NoSuchPredicate as error:
        raise typer.BadParameter(str(error), param_hint="--only") from None
    if as_json:
        show_json(
            [
                {"name": f.predicate.name, "verdict": f.verdict, "examined": f.examined, "violations": f.violations}
                for f in report.findings
            ]
        )
    else:
        sys.stdout.write("\n".join(report.lines()) + "\n")
    raise typer.Exit(1 if report.violated else 0)
