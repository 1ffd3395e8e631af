"""`payctl dlq summary | groups | list | show | export`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO
from urllib.parse import urlencode

import typer

from operations.payctl.app import AsJson, Json, TokenFile, Url, call, fail, plain, show_json, table
from operations.payctl.selecting import Fingerprint, NewerThan, OlderThan, Reason, Service, Status, Type, selection

BULKS = "/admin/dead-letters/bulks"


def summary(
    url: Url,
    token_file: TokenFile,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Include what is settled.")] = False,
    as_json: AsJson = False,
) -> None:
    """Counts by service, type, reason and status."""
    rows = call(url, token_file, "GET", f"/admin/dead-letters/summary?all={int(everything)}")["summary"]
    if as_json:
        show_json(rows)
        return
    columns = {
        "service": "Service", "type": "Type", "reason": "Reason", "status": "Status", "messages": "Messages",
        "oldest": "Oldest",
    }  # fmt: skip
    table("Dead letters", columns, rows)


def groups(
    url: Url, token_file: TokenFile, *, service: Service = None, type_: Type = None, as_json: AsJson = False
) -> None:
    """What is open, by service, type and the way it failed; the largest group first."""
    query = urlencode({name: value for name, value in (("service", service), ("type", type_)) if value})
    rows = call(url, token_file, "GET", f"/admin/dead-letters/groups?{query}")["groups"]
    if as_json:
        show_json(rows)
        return
    columns = {
        "fingerprint": "Fingerprint", "service": "Service", "type": "Type", "reason": "Reason", "open": "Open",
        "replaying": "Replaying", "exception_message": "Latest", "last_failed_at": "Last failed",
    }  # fmt: skip
    table("Groups", columns, [{**row, "exception_message": _short(row["exception_message"])} for row in rows])


def _short(text: str | None) -> str:
    line = (text or "").splitlines()[0] if text else ""
    return line if len(line) <= 60 else line[:59] + "…"


def list_(
    url: Url,
    token_file: TokenFile,
    *,
    service: Service = None,
    type_: Type = None,
    status: Status = None,
    fingerprint: Fingerprint = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: int = 100,
    as_json: AsJson = False,
) -> None:
    """Dead letters, the latest failures first."""
    given = {
        "service": service, "type": type_, "status": status, "fingerprint": fingerprint, "older_than": older_than,
        "newer_than": newer_than, "limit": limit,
    }  # fmt: skip
    query = urlencode({name: value for name, value in given.items() if value is not None})
    rows = list(call(url, token_file, "GET", f"/admin/dead-letters?{query}")["dead_letters"])
    if as_json:
        show_json(rows)
        return
    columns = {
        "id": "Id", "service": "Service", "type": "Type", "status": "Status", "reason": "Reason",
        "exception_type": "Exception", "failures": "Failures", "last_failed_at": "Last failed",
    }  # fmt: skip
    table("Dead letters", columns, rows)


def show(
    letter_id: str,
    url: Url,
    token_file: TokenFile,
    *,
    body: Annotated[bool, typer.Option("--body", help="Print the message alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """One dead letter: why it failed, its message, every failure, every replay, and who did what."""
    letter = call(url, token_file, "GET", f"/admin/dead-letters/{letter_id}")
    if as_json:
        show_json(letter)
    elif body:
        sys.stdout.write(str(letter["body"]) + "\n")
    else:
        _print(letter)


def _print(letter: Json) -> None:
    names = (
        "id", "message_id", "service", "queue", "type", "correlation_id", "status", "answer", "reason", "fingerprint",
        "handler", "exception_type", "exception_message", "trace_id", "failures", "first_failed_at", "last_failed_at",
        "settled_at",
    )  # fmt: skip
    for name in names:
        if letter.get(name) is not None:
            sys.stdout.write(f"{name.replace('_', ' '):>18}  {plain(str(letter[name]))}\n")
    sys.stdout.write(f"\nMessage\n{plain(letter['body'])}\n")
    if letter["stack"]:
        sys.stdout.write(f"\nStack\n{plain(letter['stack'])}\n")
    table(
        "\nFailures", {"failed_at": "At", "reason": "Reason", "exception_message": "Exception"}, letter["attempts_made"]
    )
    table("\nReplays", {"made_at": "At", "outcome": "Outcome", "edited": "Edited", "id": "Id"}, letter["replays"])
    audit = [{**row, "forced": (row["detail"] or {}).get("force")} for row in letter["audit"]]
    columns = {"at": "At", "action": "Action", "actor": "Who", "reason": "Why", "forced": "Forced"}
    table("\nAudit", columns, audit)


def export(
    url: Url,
    token_file: TokenFile,
    *,
    reason: Reason,
    output: Annotated[Path | None, typer.Option(help="A new file, readable by you alone; without it, stdout.")] = None,
    service: Service = None,
    type_: Type = None,
    status: Status = None,
    fingerprint: Fingerprint = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
) -> None:
    """Whole dead letters, a line of JSON each. They hold what people entrusted to us; the audit keeps who took them."""
    wanted = selection(
        ids=None, service=service, type_=type_, fingerprint=fingerprint, older_than=older_than, newer_than=newer_than
    )
    request = {"filter": wanted, "reason": reason, **({"status": status} if status else {})}
    letters = _pages(url, token_file, request, limit)
    if output is None:
        _write(letters, sys.stdout)
        return
    try:
        output.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        fail(f"{output} exists", 2)
    with output.open("w", encoding="utf-8") as file:
        sys.stdout.write(f"exported {_write(letters, file)} to {output}\n")


def _pages(url: str, token_file: Path, request: Json, limit: int | None) -> Iterator[Json]:
    after, left = None, limit
    while left is None or left > 0:
        asked = {**request, "limit": min(200, left or 200), **({"after": after} if after else {})}
        page = call(url, token_file, "POST", "/admin/dead-letters/export", asked)
        yield from page["dead_letters"]
        after = page["next"]
        left = None if left is None else left - len(page["dead_letters"])
        if after is None:
            return


def _write(letters: Iterator[Json], file: TextIO) -> int:
    written = 0
    for letter in letters:
        file.write(json.dumps(letter) + "\n")
        written += 1
    return written
