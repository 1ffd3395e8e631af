"""How far a bulk is: a bar on a terminal, a line for each change elsewhere."""

import sys
import time
from pathlib import Path
from typing import Final

import typer

from operations.payctl.app import Away, Json, Refused, ask, fail, show_json
from operations.payctl.looking import BULKS

POLL_SECONDS: Final = 0.3
AWAY_SECONDS: Final = 120.0
SETTLED: Final = ("resolved", "refused", "discarded", "archived", "failed", "unknown", "skipped", "canceled")
UNWELL: Final = ("refused", "failed", "unknown")


def follow(url: str, token_file: Path, bulk_id: str, *, as_json: bool) -> None:
    """Show a bulk until it ends or pauses, and end the program: with 0 when all of it went well, else with 1."""
    if as_json:
        bulk = _until_rest(url, token_file, bulk_id)
        show_json(bulk)
    elif sys.stdout.isatty():
        bulk = _with_bar(url, token_file, bulk_id)
    else:
        bulk = _until_rest(url, token_file, bulk_id, said="")
    if not as_json:
        _say_end(bulk)
    well = bulk["state"] == "done" and not any(bulk["counts"].get(name) for name in UNWELL)
    raise typer.Exit(0 if well else 1)


def progress_line(bulk: Json) -> str:
    """`running: 35 of 120, resolved 33, failed 2, on the way 5`."""
    counts = bulk["counts"]
    parts = [f"{name.replace('_', ' ')} {counts[name]}" for name in (*SETTLED, "on_the_way") if counts.get(name)]
    why = f" ({bulk['state_reason']})" if bulk["state_reason"] else ""
    return ", ".join([f"{bulk['state']}{why}: {_settled(bulk)} of {bulk['total']}", *parts])


def _settled(bulk: Json) -> int:
    return sum(bulk["counts"].get(name, 0) for name in SETTLED)


def _at_rest(bulk: Json) -> bool:
    """Nothing more will happen unless somebody says so."""
    return bulk["state"] == "done" or (bulk["state"] != "running" and not bulk["counts"].get("on_the_way"))


def _look(url: str, token_file: Path, bulk_id: str) -> Json:
    """The bulk. It goes on by itself, so that operations may be away for a while."""
    path, since = f"{BULKS}/{bulk_id}", time.monotonic()
    while True:
        try:
            return ask(url, token_file, "GET", path)
        except Refused as error:
            fail(str(error), 1)
        except Away as error:
            if time.monotonic() - since > AWAY_SECONDS:
                fail(str(error), 2)
            time.sleep(POLL_SECONDS)


def _until_rest(url: str, token_file: Path, bulk_id: str, said: str | None = None) -> Json:
    while True:
        bulk = _look(url, token_file, bulk_id)
        line = progress_line(bulk)
        if said is not None and line != said:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            said = line
        if _at_rest(bulk):
            return bulk
        time.sleep(POLL_SECONDS)


def _with_bar(url: str, token_file: Path, bulk_id: str) -> Json:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[act]}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[line]}", markup=False)) as progress:
        task = progress.add_task("bulk", total=None, act="", line="")
        while True:
            bulk = _look(url, token_file, bulk_id)
            progress.update(
                task, total=bulk["total"], completed=_settled(bulk), act=bulk["act"], line=progress_line(bulk)
            )
            if _at_rest(bulk):
                return bulk
            time.sleep(POLL_SECONDS)


def _say_end(bulk: Json) -> None:
    if bulk["failures"]:
        sys.stdout.write("failed again:\n")
        for row in bulk["failures"]:
            sys.stdout.write(f"  {row['messages']} as {row['fingerprint']}\n")
    if bulk["state"] == "paused":
        sys.stdout.write(f'go on with: payctl dlq resume {bulk["id"]} --reason "…"\n')
        sys.stdout.write(f'or end it:  payctl dlq cancel {bulk["id"]} --reason "…"\n')
