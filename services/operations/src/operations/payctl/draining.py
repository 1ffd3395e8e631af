"""`payctl dlq drain`: for the night when the database is away and messages must go on. It needs the broker alone."""

import asyncio
import base64
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO
from uuid import UUID

import typer

from operations.model.letters import DeadLetter
from operations.payctl.app import AsJson, Json, actor, fail, show_json, table
from operations.payctl.selecting import DryRun, Reason, Type
from payments_shared.clock import utc_now

if TYPE_CHECKING:
    from operations.payctl.moving import Drained


def drain(
    amqp_url: Annotated[str, typer.Option(envvar="PAYMENTS_AMQP_URL", help="The broker, with operations' login.")],
    *,
    service: Annotated[str, typer.Option(help="Whose dead letters.")],
    reason: Reason,
    file: Annotated[Path, typer.Option(help="Each message is written here before it moves; lines are added.")],
    type_: Type = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1_000_000,
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Messages a second.")] = 50.0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Break glass: move a service's dead letters back to its queues while the database is away.

    Stop operations first: it holds some of them. Each message is written to the file and on disk, sent, confirmed by
    the broker, and only then taken from the dead letters. What fails again meanwhile is left there.
    """
    import structlog

    from operations.payctl.moving import Job, Stopped, drained
    from payments_shared.contracts.catalog import CONSUMERS

    if service not in CONSUMERS or service == "operations":
        fail(f"--service is one of {', '.join(name for name in CONSUMERS if name != 'operations')}", 2)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    job = Job(service, type_, limit, rate)
    try:
        if dry_run:
            report = asyncio.run(drained(amqp_url, job, None))
        else:
            who = {"actor": actor(), "why": reason}
            with _opened(file) as record:

                def keep(letter: DeadLetter, replay_id: UUID) -> None:
                    _write(record, {"at": utc_now().isoformat(), **who, "replay_id": str(replay_id)}, letter)

                report = asyncio.run(drained(amqp_url, job, keep))
    except Stopped as error:
        fail(str(error), 1)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the channel died under a command
        fail(f"cannot drain: {error}", 2)
    _say(report, file, dry_run=dry_run, as_json=as_json)


def _opened(file: Path) -> TextIO:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8")


def _write(record: TextIO, about: Json, letter: DeadLetter) -> None:
    """One line, on disk before the message moves."""
    body = {"body": letter.body.decode(errors="replace"), "body_base64": base64.b64encode(letter.body).decode()}
    line = {**about, **asdict(letter), **body, "from_replay_id": letter.replay_id, "replay_id": about["replay_id"]}
    record.write(json.dumps(line, default=str) + "\n")
    record.flush()
    os.fsync(record.fileno())


def _say(report: "Drained", file: Path, *, dry_run: bool, as_json: bool) -> None:
    moved, left = report.moved, report.left
    if as_json:
        show_json(
            {"moved": {} if dry_run else dict(moved), "waiting": dict(moved) if dry_run else {}, "left": dict(left)}
        )
        return
    verb = "would move" if dry_run else "moved"
    rows = [{"type": name, "moved": moved[name], "left": left[name]} for name in sorted(moved | left)]
    table("Drain", {"type": "Type", "moved": verb.capitalize(), "left": "Left there"}, rows)
    sys.stdout.write(f"{verb} {moved.total()}" + ("\n" if dry_run else f"; each is a line of {file}\n"))
