"""`payctl stripe`: what can be had from Stripe again."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from operations.payctl.app import AsJson, Json, TokenFile, call, fail, show_json, table
from payments_shared.clock import utc_now

if TYPE_CHECKING:
    from rich.progress import Progress

stripe = typer.Typer(no_args_is_help=True, help="What Stripe still knows, taken in again.")

IngestUrl = Annotated[str, typer.Option(envvar="PAYMENTS_WEBHOOK_INGEST_URL", help="Internal URL of webhook-ingest.")]
STAGES: Final = {"undelivered": "not delivered", "all": "all"}
COUNTS: Final = ("seen", "new", "ignored", "dead", "failed")
_DURATION: Final = re.compile(r"(\d+)([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


@stripe.command("backfill")
def backfill(
    url: IngestUrl,
    token_file: TokenFile,
    *,
    since: Annotated[str, typer.Option(help="A duration such as 90m, 6h or 30d, or a time such as 2026-11-24T22:00Z.")],
    cursor: Annotated[str | None, typer.Option(help="Go on where an interrupted run said it stopped.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and store nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take in the events of Stripe's list that no webhook brought, oldest first, those never delivered before all.

    Events that are known are left alone, so that it may be run as often as one likes. Stripe keeps events for 30 days.
    Exit status 1 when an event could not be stored, 2 when webhook-ingest or Stripe does not answer.
    """
    begin = _time(since)
    counts = {name: dict.fromkeys(COUNTS, 0) for name in STAGES}
    place, done = cursor, False
    with _progress(begin, shown=not as_json and sys.stderr.isatty()) as progress:
        while not done:
            try:
                step = _step(url, token_file, begin, place, dry_run=dry_run)
            except (typer.Exit, KeyboardInterrupt):
                if place is not None:
                    again = f"payctl stripe backfill --since {begin.isoformat()} --cursor {place}"
                    sys.stderr.write(f"go on with: {again}\n")
                raise
            for name in COUNTS:
                counts[step["stage"]][name] += step[name]
            place, done = step["cursor"], step["done"]
            progress.advance_to(step)
    failed = sum(count["failed"] for count in counts.values())
    if as_json:
        show_json({"since": begin.isoformat(), "dry_run": dry_run, **counts})
        raise typer.Exit(int(failed > 0))
    new = "Would be new" if dry_run else "New"
    labels = {
        "stage": "Events",
        "seen": "Seen",
        "new": new,
        "ignored": "of these ignored",
        "dead": "unusable",
        "failed": "Failed",
    }
    rows = [{"stage": label, **counts[name]} for name, label in STAGES.items()]
    table(f"Stripe's events since {begin.isoformat()}", labels, rows)
    if failed:
        fail(f"{failed} events were refused by the database: see ingest.not_stored in webhook-ingest's log", 1)


def _step(url: str, token_file: TokenFile, begin: datetime, place: str | None, *, dry_run: bool) -> Json:
    body = {"since": begin.isoformat(), "cursor": place, "dry_run": dry_run}
    return call(url, token_file, "POST", "/admin/stripe/backfill", body)


def _time(text: str) -> datetime:
    """The moment that `--since` names."""
    if match := _DURATION.fullmatch(text):
        return utc_now().replace(microsecond=0) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--since: neither a duration such as 6h nor a time: {text}", 2)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Bar:
    """How far the walk came between its beginning and now, by the times of the events."""

    def __init__(self, progress: "Progress", begin: datetime) -> None:
        self._progress = progress
        self._begin = begin
        self._span = max((utc_now() - begin).total_seconds(), 1.0)
        self._tasks = {name: progress.add_task(f"Events, {label}", total=self._span) for name, label in STAGES.items()}

    def advance_to(self, step: Json) -> None:
        """Show what a step reached."""
        task = self._tasks[step["stage"]]
        ended = step["cursor"] is None or not step["cursor"].startswith(f"{step['stage']}:")
        reached = datetime.fromisoformat(step["reached"]) if step["reached"] else self._begin
        seconds = self._span if ended else (reached - self._begin).total_seconds()
        self._progress.update(task, completed=min(max(seconds, 0.0), self._span))


@contextmanager
def _progress(begin: datetime, *, shown: bool) -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as progress:
        yield _Bar(progress, begin)
