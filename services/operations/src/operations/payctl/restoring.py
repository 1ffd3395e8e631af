"""`payctl restore`: what a backup does not know. It reads and writes the database as its owner."""

import asyncio
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from operations.payctl.app import AsJson, actor, fail, show_json, table
from operations.payctl.selecting import Reason
from payments_shared.clock import utc_now

restore = typer.Typer(no_args_is_help=True, help="After the restore of a backup.")

OwnerUrl = Annotated[str, typer.Option(envvar="PAYMENTS_OWNER_DATABASE_URL", help="Login of the database's owner.")]
_MESSAGE_ID: Final = re.compile(r"<[^<>\s@]+@[^<>\s@]+>")


@restore.command("begin")
def begin(
    dsn: OwnerUrl,
    *,
    to: Annotated[str, typer.Option(help="The moment that was restored, such as 2026-11-24T22:00Z.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Before any service is started: have said again what an empty broker lost, and hold all mails.

    What a service has heard, or a dead letter keeps, is not said to it twice. May be repeated. Exit status 1 while a
    service is connected.
    """
    from operations.payctl.restored import Unready, begin_restore

    moment = _time(to)
    try:
        counts = asyncio.run(begin_restore(dsn, moment, actor=actor(), reason=reason))
    except Unready as error:
        fail(str(error), 1)
    _say("Begun", counts, as_json=as_json)


@restore.command("mails")
def mails(
    dsn: OwnerUrl,
    *,
    taken: Annotated[Path, typer.Option(help="Text with the Message-IDs that the mail server took, such as its log.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """End the holding of mails: those whose Message-IDs stand in the text are recorded as sent, all others are sent.

    The text must reach from the restored moment to the disaster; an empty one says that nothing was sent in between.
    """
    from operations.payctl.restored import release_mails

    try:
        found = sorted(set(_MESSAGE_ID.findall(taken.read_text(encoding="utf-8", errors="replace"))))
    except OSError as error:
        fail(f"{taken} cannot be read: {error}", 2)
    _say("Mails", asyncio.run(release_mails(dsn, found, actor=actor(), reason=reason)), as_json=as_json)


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--to: not a time: {text}", 2)
    if moment.tzinfo is None:
        fail("--to: say the time zone, such as 2026-11-24T22:00Z", 2)
    if moment > utc_now():
        fail("--to: that is in the future", 2)
    return moment


def _say(title: str, counts: Mapping[str, int], *, as_json: bool) -> None:
    if as_json:
        show_json(dict(counts))
        return
    table(title, {"what": "What", "count": "How many"}, [{"what": k, "count": v} for k, v in counts.items()])
    sys.stdout.flush()
