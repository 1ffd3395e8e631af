"""`payctl dlq`: dead letters."""

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer

from operations.payctl.app import AsJson, Json, TokenFile, Url, call, fail, show_json, table

dlq = typer.Typer(no_args_is_help=True, help="Dead letters: see them, send them back.")


@dlq.command("summary")
def summary(
    url: Url,
    token_file: TokenFile,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Include what is resolved.")] = False,
    as_json: AsJson = False,
) -> None:
    """Counts by service, type, reason and status."""
    rows = call(url, token_file, "GET", f"/admin/dead-letters/summary?all={int(everything)}")["summary"]
    if as_json:
        show_json(rows)
        return
    columns = {
        "service": "Service",
        "type": "Type",
        "reason": "Reason",
        "status": "Status",
        "messages": "Messages",
        "oldest": "Oldest",
    }
    table("Dead letters", columns, rows)


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
        show_json(rows)
        return
    columns = {
        "id": "Id", "service": "Service", "type": "Type", "status": "Status", "reason": "Reason",
        "exception_type": "Exception", "failures": "Failures", "last_failed_at": "Last failed",
    }  # fmt: skip
    table("Dead letters", columns, rows)


def _list(url: str, token_file: Path, **wanted: object) -> list[Json]:
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    return list(call(url, token_file, "GET", f"/admin/dead-letters?{query}")["dead_letters"])


@dlq.command("show")
def show(letter_id: str, url: Url, token_file: TokenFile) -> None:
    """One dead letter: payload, headers, stack, attempts, audit."""
    show_json(call(url, token_file, "GET", f"/admin/dead-letters/{letter_id}"))


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
        fail("name ids, or filter by --service, --type or --fingerprint", 2)
    ids = letter_ids or [
        row["id"]
        for row in _list(
            url, token_file, service=service, type=type_, fingerprint=fingerprint, status="open", limit=limit
        )
    ]
    if dry_run:
        show_json({"would_replay": ids}) if as_json else sys.stdout.write(f"would replay {len(ids)}\n")
        return
    sent = 0
    for letter_id in track(ids, description="Replaying", disable=as_json or not sys.stdout.isatty()):
        call(url, token_file, "POST", f"/admin/dead-letters/{letter_id}/replay", {"reason": reason})
        sent += 1
        time.sleep(1 / rate)
    show_json({"replayed": sent}) if as_json else sys.stdout.write(f"replayed {sent}\n")
