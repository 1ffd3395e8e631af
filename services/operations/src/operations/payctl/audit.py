"""`payctl audit`."""

import asyncio
import sys
from typing import Annotated, Literal

import typer

from operations.payctl.app import AsJson, fail, show_json


def audit(
    dsn: Annotated[str, typer.Option(envvar="PAYMENTS_AUDITOR_DATABASE_URL", help="Login of the role auditor.")],
    *,
    always: Annotated[bool, typer.Option("--always", help="Only what holds at any moment, also under load.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="The number of a predicate, such as I23; several times.")
    ] = None,
    livemode: Annotated[
        bool, typer.Option(envvar="PAYMENTS_LIVEMODE", help="Events of live mode are ours, as the services have it.")
    ] = False,
    account: Annotated[
        list[str] | None,
        typer.Option(envvar="PAYMENTS_STRIPE_ACCOUNTS", help="Stripe accounts that are ours, besides the key's own."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every money-safety predicate in one snapshot; exit status 1 when one is violated, 2 without an answer."""
    import asyncpg

    from operations.audit import NoSuchPredicate, run_audit

    when: Literal["always", "quiescence"] = "always" if always else "quiescence"
    accounts = ["", *(name for part in account or () for name in part.split(",") if name)]
    try:
        report = asyncio.run(run_audit(dsn, when=when, only=only or (), livemode=livemode, accounts=accounts))
    except NoSuchPredicate as error:
        raise typer.BadParameter(str(error), param_hint="--only") from None
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        fail(f"cannot audit: {_in_a_line(error)}", 2)
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


def _in_a_line(error: Exception) -> str:
    """What went wrong, with the notes of those who passed it on; a timeout says nothing itself."""
    said = " ".join(str(error).split()) or type(error).__name__
    return "; ".join([said, *getattr(error, "__notes__", ())])
