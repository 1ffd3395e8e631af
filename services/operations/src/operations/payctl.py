"""`payctl`: the operators' command line. It speaks to services' admin ports with the operator's own token; only
`payctl audit` has a database login, the read-only `auditor`."""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import typer

app = typer.Typer(no_args_is_help=True, help="Operate the payments platform.", pretty_exceptions_enable=False)
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: see them, send them back.")
app.add_typer(dlq, name="dlq")

Url = Annotated[str, typer.Option(envvar="PAYMENTS_OPERATIONS_URL", help="Internal URL of operations.")]
TokenFile = Annotated[Path, typer.Option(envvar="PAYMENTS_TOKEN_FILE", help="File with your bearer token.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Json = dict[str, Any]  # Any: JSON


def _call(url: str, token_file: Path, method: str, path: str, body: object | None = None) -> Json:
    request = urllib.request.Request(  # noqa: S310 - the operator names the URL
        url.rstrip("/") + path, method=method, data=None if body is None else json.dumps(body).encode()
    )
    request.add_header("Authorization", f"Bearer {token_file.read_text().strip()}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - see above
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        _fail(f"{problem.get('code')}: {problem.get('detail')}", 1)
    except (urllib.error.URLError, OSError) as error:
        _fail(f"operations cannot be reached: {error}", 2)
    raise AssertionError


def _fail(text: str, code: int) -> None:
    sys.stderr.write(text + "\n")
    raise typer.Exit(code)


def _show(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _table(title: str, columns: dict[str, str], rows: list[Json]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_edge=False)
    for label in columns.values():
        table.add_column(label, overflow="fold")
    for row in rows:
        table.add_row(*(str(row.get(name) if row.get(name) is not None else "") for name in columns))
    Console().print(table if rows else f"{title}: none")


@dlq.command("summary")
def summary(
    url: Url,
    token_file: TokenFile,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Include what is resolved.")] = False,
    as_json: AsJson = False,
) -> None:
    """Counts by service, type, reason and status."""
    rows = _call(url, token_file, "GET", f"/admin/dead-letters/summary?all={int(everything)}")["summary"]
    if as_json:
        _show(rows)
        return
    columns = {
        "service": "Service",
        "type": "Type",
        "reason": "Reason",
        "status": "Status",
        "messages": "Messages",
        "oldest": "Oldest",
    }
    _table("Dead letters", columns, rows)


@dlq.command("list")
def list_(
    url: Url,
    token_file: TokenFile,
    *,
    service: str | None = None,
    type_: Annotated[str | None, typer.Option("--type")] = None,
    status: str | None = None,
    fingerprint: str | None = None,
    limit: int = 100,
    as_json: AsJson = False,
) -> None:
    """Dead letters, the latest failures first."""
    rows = _list(url, token_file, service=service, type=type_, status=status, fingerprint=fingerprint, limit=limit)
    if as_json:
        _show(rows)
        return
    columns = {
        "id": "Id", "service": "Service", "type": "Type", "status": "Status", "reason": "Reason",
        "exception_type": "Exception", "failures": "Failures", "last_failed_at": "Last failed",
    }  # fmt: skip
    _table("Dead letters", columns, rows)


def _list(url: str, token_file: Path, **wanted: object) -> list[Json]:
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    return list(_call(url, token_file, "GET", f"/admin/dead-letters?{query}")["dead_letters"])


@dlq.command("show")
def show(letter_id: str, url: Url, token_file: TokenFile) -> None:
    """One dead letter: payload, headers, stack, attempts, audit."""
    _show(_call(url, token_file, "GET", f"/admin/dead-letters/{letter_id}"))


@dlq.command("replay")
def replay(
    url: Url,
    token_file: TokenFile,
    letter_ids: Annotated[list[str] | None, typer.Argument(help="Ids; or use the filters.")] = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    service: str | None = None,
    type_: Annotated[str | None, typer.Option("--type")] = None,
    fingerprint: str | None = None,
    limit: int = 1000,
    rate: Annotated[float, typer.Option(help="Messages a second.")] = 50.0,
    dry_run: bool = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to the one queue that failed; no other service sees them."""
    import time

    from rich.progress import track

    if not letter_ids and not (service or type_ or fingerprint):
        _fail("name ids, or filter by --service, --type or --fingerprint", 2)
    ids = letter_ids or [
        row["id"]
        for row in _list(
            url, token_file, service=service, type=type_, fingerprint=fingerprint, status="open", limit=limit
        )
    ]
    if dry_run:
        _show({"would_replay": ids}) if as_json else sys.stdout.write(f"would replay {len(ids)}\n")
        return
    sent = 0
    for letter_id in track(ids, description="Replaying", disable=as_json or not sys.stdout.isatty()):
        _call(url, token_file, "POST", f"/admin/dead-letters/{letter_id}/replay", {"reason": reason})
        sent += 1
        time.sleep(1 / rate)
    _show({"replayed": sent}) if as_json else sys.stdout.write(f"replayed {sent}\n")


@app.command("order")
def order(order_id: str, url: Url, token_file: TokenFile, *, as_json: AsJson = False) -> None:
    """The story of an order: every message about it, in order, and its dead letters."""
    told = _call(url, token_file, "GET", f"/admin/orders/{order_id}/timeline")
    if as_json:
        _show(told)
        return
    _table(
        f"Order {order_id}", {"time": "Time", "type": "Message", "source": "From", "message_id": "Id"}, told["messages"]
    )
    if told["dead_letters"]:
        _table(
            "Dead letters",
            {"service": "Service", "type": "Type", "status": "Status", "reason": "Reason"},
            told["dead_letters"],
        )


@app.command("audit")
def audit(
    dsn: Annotated[str, typer.Option(envvar="PAYMENTS_AUDITOR_DATABASE_URL", help="Login of the role auditor.")],
    *,
    always: Annotated[bool, typer.Option("--always", help="Only what holds at any moment, also under load.")] = False,
    livemode: bool = False,
    account: Annotated[list[str] | None, typer.Option(help="Stripe accounts that are ours.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every money-safety predicate in one snapshot; exit status 1 when one is violated."""
    from operations.audit import run_audit

    when: Literal["always", "quiescence"] = "always" if always else "quiescence"
    report = asyncio.run(run_audit(dsn, when=when, livemode=livemode, accounts=["", *(account or [])]))
    if as_json:
        _show(
            [
                {"name": f.predicate.name, "verdict": f.verdict, "examined": f.examined, "violations": f.violations}
                for f in report.findings
            ]
        )
    else:
        sys.stdout.write("\n".join(report.lines()) + "\n")
    raise typer.Exit(1 if report.violated else 0)


def main() -> None:
    """The entry point."""
    os.environ.setdefault("PYTHONUTF8", "1")
    app()


if __name__ == "__main__":
    main()
