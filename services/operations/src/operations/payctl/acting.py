"""`payctl dlq replay | discard | archive | unarchive | watch | pause | resume | cancel`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from operations.payctl.app import AsJson, Json, TokenFile, Url, call, fail, show_json, table
from operations.payctl.looking import BULKS
from operations.payctl.selecting import (
    DryRun,
    Fingerprint,
    Force,
    Ids,
    NewerThan,
    OlderThan,
    Reason,
    Service,
    Type,
    selection,
)
from operations.payctl.watching import follow, progress_line

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Watch = Annotated[bool | None, typer.Option("--watch/--no-watch", help="Follow it to its end; on a terminal, yes.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the oldest first.")]


def replay(
    url: Url,
    token_file: TokenFile,
    letter_ids: Ids = None,
    *,
    reason: Reason,
    service: Service = None,
    type_: Type = None,
    fingerprint: Fingerprint = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = 1000,
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Messages a second, for each service.")] = 50.0,
    dry_run: DryRun = False,
    yes: Yes = False,
    watch: Watch = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to the one queue that failed; no other service sees them.

    What fails after the command is not swept in. It pauses by itself when many fail again in one way.
    """
    wanted = selection(
        ids=letter_ids, service=service, type_=type_, fingerprint=fingerprint, older_than=older_than,
        newer_than=newer_than,
    )  # fmt: skip
    asked = {"act": "replay", "filter": wanted, "reason": reason, "limit": limit, "rate": rate}
    _act(url, token_file, asked, dry_run=dry_run, yes=yes, watch=watch, as_json=as_json)


def discard(
    url: Url,
    token_file: TokenFile,
    letter_ids: Ids = None,
    *,
    reason: Reason,
    service: Service = None,
    type_: Type = None,
    fingerprint: Fingerprint = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = 1000,
    force: Force = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    watch: Watch = None,
    as_json: AsJson = False,
) -> None:
    """Put dead letters aside: nobody will act on these messages. They are kept; a replay by id still sends one.

    It is refused while nobody has told how the last replay of one of them ended: that may still take effect.
    """
    wanted = selection(
        ids=letter_ids, service=service, type_=type_, fingerprint=fingerprint, older_than=older_than,
        newer_than=newer_than,
    )  # fmt: skip
    asked = {"act": "discard", "filter": wanted, "reason": reason, "limit": limit, "force": force}
    _act(url, token_file, asked, dry_run=dry_run, yes=yes, watch=watch, as_json=as_json)


def archive(
    url: Url,
    token_file: TokenFile,
    letter_ids: Ids = None,
    *,
    reason: Reason,
    service: Service = None,
    type_: Type = None,
    status: Annotated[str | None, typer.Option(help="resolved or discarded; without it both.")] = None,
    fingerprint: Fingerprint = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = 1000,
    dry_run: DryRun = False,
    yes: Yes = False,
    watch: Watch = None,
    as_json: AsJson = False,
) -> None:
    """Put dead letters out of sight that are settled. They are found by who looks for them, and come back by themselves
    when they fail again.
    """
    filters = selection(
        ids=None, service=service, type_=type_, fingerprint=fingerprint, older_than=older_than, newer_than=newer_than
    )
    filters |= {"status": status} if status else {}
    if letter_ids:
        if filters or dry_run:
            fail("ids are archived as they are named: without filters, and without --dry-run", 2)
        _move(url, token_file, "archive", letter_ids, reason, as_json=as_json)
        return
    asked = {"act": "archive", "filter": filters, "reason": reason, "limit": limit}
    _act(url, token_file, asked, dry_run=dry_run, yes=yes, watch=watch, as_json=as_json)


def unarchive(
    url: Url,
    token_file: TokenFile,
    letter_ids: Annotated[list[str], typer.Argument(help="Ids of dead letters.")],
    *,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Take dead letters out of the archive."""
    _move(url, token_file, "unarchive", letter_ids, reason, as_json=as_json)


def _move(url: str, token_file: Path, verb: str, letter_ids: list[str], reason: str, *, as_json: bool) -> None:
    request = {"ids": letter_ids, "reason": reason}
    moved = call(url, token_file, "POST", f"/admin/dead-letters/{verb}", request)
    show_json(moved) if as_json else sys.stdout.write(f"{verb}d {moved['dead_letters']} of {len(letter_ids)}\n")


def _act(
    url: str, token_file: Path, asked: Json, *, dry_run: bool, yes: bool, watch: bool | None, as_json: bool
) -> None:
    if not asked["filter"]:
        by = "--service, --type, --fingerprint, --older-than or --newer-than"
        fail(f"name ids, or filter by {by}" + (", or by --status" if asked["act"] == "archive" else ""), 2)
    if dry_run:
        _say_preview(asked, call(url, token_file, "POST", BULKS, {**asked, "dry_run": True}), as_json=as_json)
        return
    if sys.stdin.isatty() and not (yes or as_json or "ids" in asked["filter"]):
        found = call(url, token_file, "POST", BULKS, {**asked, "dry_run": True})
        typer.confirm(f"{asked['act']} {found['taken']} of {found['matching']} that match?", abort=True)
    bulk = call(url, token_file, "POST", BULKS, asked)
    if watch or (watch is None and sys.stdout.isatty() and not as_json):
        follow(url, token_file, bulk["id"], as_json=as_json)
    elif as_json:
        show_json(bulk)
    else:
        matching = bulk["audit"][0]["detail"]["matching"]
        beyond = f" of {matching} that match" if matching > bulk["total"] else ""
        sys.stdout.write(f"bulk {bulk['id']}: {asked['act']} {bulk['total']}{beyond}\n")
        sys.stdout.write(f"follow it with: payctl dlq watch {bulk['id']}\n")


def _say_preview(asked: Json, found: Json, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    sys.stdout.write(f"would {asked['act']} {found['taken']} of {found['matching']} that match\n")


def watch(
    url: Url,
    token_file: TokenFile,
    bulk_id: Annotated[str | None, typer.Argument(help="Without it: the latest bulks.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Follow a bulk to its end. Status 0: all of it is settled; 1: something failed, or it was stopped."""
    if bulk_id is not None:
        follow(url, token_file, bulk_id, as_json=as_json)
        return
    rows = call(url, token_file, "GET", BULKS)["bulks"]
    if as_json:
        show_json(rows)
        return
    columns = {
        "id": "Id", "act": "Act", "state": "State", "total": "Messages", "actor": "Who", "reason": "Why",
        "cutoff": "Since", "state_reason": "Note",
    }  # fmt: skip
    table("Bulks", columns, rows)


def pause(bulk_id: str, url: Url, token_file: TokenFile, *, reason: Reason, as_json: AsJson = False) -> None:
    """Send nothing more of a bulk for now; what is on the way comes to its end."""
    _change(url, token_file, bulk_id, "pause", reason, as_json=as_json)


def resume(bulk_id: str, url: Url, token_file: TokenFile, *, reason: Reason, as_json: AsJson = False) -> None:
    """Go on with a paused bulk."""
    _change(url, token_file, bulk_id, "resume", reason, as_json=as_json)


def cancel(bulk_id: str, url: Url, token_file: TokenFile, *, reason: Reason, as_json: AsJson = False) -> None:
    """End a bulk. What waits stays open; what is on the way comes to its end."""
    _change(url, token_file, bulk_id, "cancel", reason, as_json=as_json)


def _change(url: str, token_file: Path, bulk_id: str, verb: str, reason: str, *, as_json: bool) -> None:
    bulk = call(url, token_file, "POST", f"{BULKS}/{bulk_id}/{verb}", {"reason": reason})
    show_json(bulk) if as_json else sys.stdout.write(progress_line(bulk) + "\n")
