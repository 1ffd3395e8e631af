"""The SQL door of operations."""

from typing import Any
from uuid import UUID

from operations.model import DeadLetter, Filter, Listed
from payments_shared.messaging import Envelope
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("operations")
Row = dict[str, Any]  # Any: column values


async def keep(connection: Connection, letter: DeadLetter) -> None:
    """Keep a dead letter; the same failure twice is one."""
    await connection.execute(
        _QUERIES["keep_dead_letter"],
        letter.id,
        letter.message_id,
        letter.service,
        letter.queue,
        letter.type,
        letter.correlation_id,
        letter.reason,
        letter.fingerprint,
        letter.exception_type,
        letter.exception_message,
        letter.handler,
        letter.stack,
        letter.attempts,
        letter.first_failed_at,
        letter.last_failed_at,
        dict(letter.headers),
        letter.body,
    )
    await connection.execute(
        _QUERIES["keep_attempt"], letter.id, letter.last_failed_at, letter.reason, letter.exception_type
    )


async def summary(connection: Connection, *, everything: bool) -> list[Row]:
    """Counts by service, type, reason and status."""
    return [dict(row) for row in await connection.fetch(_QUERIES["summary"], everything)]


async def listed(connection: Connection, wanted: Filter) -> list[Listed]:
    """Dead letters, the latest failures first."""
    return await fetch_as(
        connection,
        Listed,
        _QUERIES["list_dead_letters"],
        wanted.service,
        wanted.type,
        wanted.status,
        wanted.fingerprint,
        wanted.limit,
    )


async def shown(connection: Connection, letter_id: UUID) -> Row | None:
    """One dead letter with its attempts and audit."""
    row = await connection.fetchrow(_QUERIES["show_dead_letter"], letter_id)
    if row is None:
        return None
    attempts = [dict(entry) for entry in await connection.fetch(_QUERIES["list_attempts"], letter_id)]
    audit = [dict(entry) for entry in await connection.fetch(_QUERIES["list_audit"], letter_id)]
    return {**dict(row), "attempts_made": attempts, "audit": audit}


async def claim_replay(connection: Connection, letter_id: UUID, replay_id: UUID, lease_seconds: float) -> Row | None:
    """Take a dead letter for a replay; None when it is not open."""
    row = await connection.fetchrow(_QUERIES["claim_replay"], letter_id, replay_id, lease_seconds)
    return dict(row) if row else None


async def give_back(connection: Connection, letter_id: UUID, replay_id: UUID) -> None:
    """The replay could not be published."""
    await connection.execute(_QUERIES["give_back_replay"], letter_id, replay_id)


async def resolve(connection: Connection, letter_id: UUID) -> bool:
    """The message took effect; False when that was known."""
    return await connection.fetchrow(_QUERIES["resolve"], letter_id) is not None


async def audit(
    connection: Connection,
    letter_id: UUID,
    action: str,
    *,
    actor: str,
    reason: str,
    replay_id: UUID | None = None,
) -> None:
    """Append what was done, by whom, and why."""
    await connection.execute(_QUERIES["insert_audit"], letter_id, action, actor, reason, replay_id)


async def count_open(connection: Connection) -> dict[str, int]:
    """Open dead letters by service."""
    return {row["service"]: row["messages"] for row in await connection.fetch(_QUERIES["count_open"])}


async def append_timeline(connection: Connection, envelope: Envelope, order_ref: str | None, data: Row) -> None:
    """Keep a copy of a message for the timeline."""
    await connection.execute(
        _QUERIES["insert_timeline"],
        envelope.id,
        order_ref,
        envelope.type,
        envelope.source,
        envelope.subject,
        envelope.causationid,
        envelope.time,
        data,
    )


async def timeline(connection: Connection, order_ref: str) -> tuple[list[Row], list[Row]]:
    """Messages and dead letters of an order."""
    messages = [dict(row) for row in await connection.fetch(_QUERIES["order_timeline"], order_ref)]
    letters = [dict(row) for row in await connection.fetch(_QUERIES["order_dead_letters"], order_ref)]
    return messages, letters
