"""What `payctl restore` does to the database, each time in one transaction with who and why."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import Final

import asyncpg

from payments_shared.bindings import heard
from payments_shared.contracts.catalog import CONSUMERS, SERVICES, schema_name
from payments_shared.ids import new_id
from payments_shared.messaging.inbox import REMEMBERED_DAYS
from payments_shared.queries import parse_queries

_QUERIES: Final = parse_queries(resources.files("operations").joinpath("sql/restoring.sql").read_text(encoding="utf-8"))


class Unready(Exception):
    """A service is connected, and would send mails while they are being held; or the backup is of a release that wrote
    down nowhere since when each service hears each type, and nothing was provisioned since."""


async def begin_restore(dsn: str, restored_to: datetime, *, actor: str, reason: str) -> Mapping[str, int]:
    """Mark as not yet said what was said and not heard everywhere, and hold mails; how many of each, by service.

    Raises:
        Unready: a service is connected, or nothing was provisioned since the restore of such a backup.
    """
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        async with connection.transaction():
            if not await connection.fetchval(_QUERIES["provisioned"]):
                raise Unready("provision first: python -m payments_shared.provision")
            roles = [f"{schema_name(service)}_app" for service in SERVICES]
            if busy := await connection.fetchval(_QUERIES["connected"], roles):
                raise Unready(f"stop these first: {', '.join(busy)}")
            said = {f"to say again: {name}": await _say_again(connection, name) for name in SERVICES}
            await connection.execute(_QUERIES["hold"], new_id())
            counts = {**said, "mails held": len(await connection.fetch(_QUERIES["hold_mails"]))}
            await connection.execute(_QUERIES["record"], "begin", actor, reason, restored_to, json.dumps(counts))
            return counts
    finally:
        await connection.close()


async def _say_again(connection: "asyncpg.Connection[asyncpg.Record]", service: str) -> int:
    inboxes = " UNION ALL ".join(
        f"SELECT '{name}' AS service, message_id"  # noqa: S608 - names of our own
        f" FROM {schema_name(name)}.inbox WHERE day >= current_date - $3::int"
        for name in CONSUMERS
    )
    sql = _QUERIES["say_again"].replace(":schema", schema_name(service)).replace(":inboxes", inboxes)
    types, hearers = (list(column) for column in zip(*heard(), strict=True))
    return len(await connection.fetch(sql, types, hearers, REMEMBERED_DAYS))


async def release_mails(dsn: str, taken: Sequence[str], *, actor: str, reason: str) -> Mapping[str, int]:
    """End the holding of mails; `taken` are Message-IDs that the mail server had already. How many mails were held, and
    how many of these are never sent again."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(_QUERIES["stop_writers"])
            await connection.execute(_QUERIES["take"], list(taken))
            await connection.execute(_QUERIES["end_hold"])
            known = [row["known"] for row in await connection.fetch(_QUERIES["release"])]
            counts = {"Message-IDs in the text": len(taken), "mails held": len(known), "sent before": sum(known)}
            await connection.execute(_QUERIES["record"], "mails", actor, reason, None, json.dumps(counts))
            return counts
    finally:
        await connection.close()
