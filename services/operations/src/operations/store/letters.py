"""Dead letters, their attempts and the audit."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from operations.model.letters import DeadLetter, Filter, Group, Listed, Position, Standing, Status, Unsettled
from operations.model.replays import Outcome
from operations.store import Row
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("operations")
_NO_LETTER: Final = UUID(int=0)


async def insert(connection: Connection, letter: DeadLetter) -> bool:
    """Keep a dead letter that is not known yet; False when its message has one."""
    row = await connection.fetchrow(
        _QUERIES["insert_dead_letter"],
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
    return row is not None


async def lock(connection: Connection, letter_id: UUID) -> Standing | None:
    """Where a dead letter stands, locked until the transaction ends."""
    row = await connection.fetchrow(_QUERIES["lock_dead_letter"], letter_id)
    if row is None:
        return None
    return Standing(row["id"], Status(row["status"]), row["replay_id"], row["settled_at"], row["body"])


async def reopen(connection: Connection, letter_id: UUID, status: Status, failed: DeadLetter) -> None:
    """Count a new failure of a known message, which then stands at `status`."""
    await connection.execute(
        _QUERIES["reopen_dead_letter"],
        letter_id,
        status.value,
        failed.reason,
        failed.fingerprint,
        failed.exception_type,
        failed.exception_message,
        failed.handler,
        failed.stack,
        failed.attempts,
        failed.last_failed_at,
        dict(failed.headers),
    )


async def insert_attempt(connection: Connection, letter_id: UUID, failed: DeadLetter, body: bytes | None) -> bool:
    """Remember a failure; False when it is known. `body` where it differs from the dead letter's."""
    row = await connection.fetchrow(
        _QUERIES["insert_attempt"],
        letter_id,
        failed.last_failed_at,
        failed.reason,
        failed.exception_type,
        failed.exception_message,
        failed.replay_id,
        body,
    )
    return row is not None


async def resolve(connection: Connection, letter_id: UUID) -> bool:
    """The message took effect; False when that was known, or nobody knows the letter."""
    return await connection.fetchrow(_QUERIES["resolve_dead_letter"], letter_id) is not None


async def summary(connection: Connection, *, everything: bool) -> list[Row]:
    """Counts by service, type, reason and status."""
    return [dict(row) for row in await connection.fetch(_QUERIES["summary"], everything)]


async def unsettled(connection: Connection) -> list[Unsettled]:
    """What is unsettled, by service, most open first."""
    return await fetch_as(connection, Unsettled, _QUERIES["unsettled"])


async def groups(connection: Connection, service: str | None, type_: str | None) -> list[Group]:
    """What is unsettled, by service, type and fingerprint, the largest group first."""
    return await fetch_as(connection, Group, _QUERIES["groups"], service, type_)


async def listed(connection: Connection, wanted: Filter, behind: Position, limit: int) -> list[Listed]:
    """Dead letters behind a position, the latest failures first."""
    place = (behind.last_failed_at, behind.id)
    return await fetch_as(
        connection, Listed, _QUERIES["list_dead_letters"], *_arguments(wanted), *place, limit, wanted.archived
    )


async def found(
    connection: Connection, ids: Sequence[UUID], message_ids: Sequence[str], order_ref: str | None, limit: int
) -> list[Listed]:
    """Dead letters with one of `ids`, of one of the messages, or of the order."""
    sql = _QUERIES["find_dead_letters"]
    return await fetch_as(connection, Listed, sql, list(ids), list(message_ids), order_ref, limit)


async def exported(connection: Connection, wanted: Filter, after: UUID | None, limit: int) -> list[Row]:
    """Dead letters whole, in the order of their ids, those behind `after`."""
    rows = await connection.fetch(_QUERIES["export_dead_letters"], *_arguments(wanted), after or _NO_LETTER, limit)
    return [dict(row) for row in rows]


def _arguments(wanted: Filter) -> tuple[object, ...]:
    return (
        wanted.service,
        wanted.type,
        wanted.status,
        wanted.fingerprint,
        wanted.older_than_seconds,
        wanted.newer_than_seconds,
        None if wanted.ids is None else list(wanted.ids),
    )


async def shown(connection: Connection, letter_id: UUID) -> Row | None:
    """One dead letter with its failures, replays and audit."""
    row = await connection.fetchrow(_QUERIES["show_dead_letter"], letter_id)
    if row is None:
        return None
    attempts = [dict(entry) for entry in await connection.fetch(_QUERIES["list_attempts"], letter_id)]
    replays = [dict(entry) for entry in await connection.fetch(_QUERIES["list_replays"], letter_id)]
    audit = [dict(entry) for entry in await connection.fetch(_QUERIES["list_audit"], letter_id)]
    return {**dict(row), "attempts_made": attempts, "replays": replays, "audit": audit}


async def standing(connection: Connection, letter_id: UUID) -> Row | None:
    """Where a dead letter stands, with its failures, replays and audit, and without what never changes."""
    row = await connection.fetchrow(_QUERIES["show_standing"], letter_id)
    if row is None:
        return None
    attempts = [dict(entry) for entry in await connection.fetch(_QUERIES["list_attempts_made"], letter_id)]
    replays = [dict(entry) for entry in await connection.fetch(_QUERIES["list_replays"], letter_id)]
    audit = [dict(entry) for entry in await connection.fetch(_QUERIES["list_audit"], letter_id)]
    return {**dict(row), "attempts_made": attempts, "replays": replays, "audit": audit}


async def last_answer(connection: Connection, letter_id: UUID) -> Outcome | None:
    """How its service answered when it was resolved the last time; None when it never was."""
    told = await connection.fetchval(_QUERIES["last_answer"], letter_id)
    return None if told is None else Outcome(told)


async def archive(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Put those of `ids` out of sight that are settled; which."""
    return [row["id"] for row in await connection.fetch(_QUERIES["archive"], list(ids))]


async def unarchive(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Take those of `ids` out of the archive that are in it; which."""
    return [row["id"] for row in await connection.fetch(_QUERIES["unarchive"], list(ids))]


async def count_open(connection: Connection) -> dict[str, int]:
    """Open dead letters by service."""
    return {row["service"]: row["messages"] for row in await connection.fetch(_QUERIES["count_open"])}


async def audit(
    connection: Connection,
    letter_id: UUID | None,
    action: str,
    *,
    actor: str,
    reason: str,
    replay_id: UUID | None = None,
    bulk_id: UUID | None = None,
    detail: Any = None,  # Any: JSON
) -> None:
    """Append what was done, by whom, and why. Without a letter: an act upon many."""
    await connection.execute(_QUERIES["insert_audit"], letter_id, action, actor, reason, replay_id, bulk_id, detail)


async def audit_many(
    connection: Connection,
    letters: Sequence[tuple[UUID, UUID | None]],
    action: str,
    *,
    actor: str,
    reason: str,
    bulk_id: UUID | None,
    detail: Any = None,  # Any: JSON
) -> None:
    """Append the same act for many (letter, replay)."""
    ids, replay_ids = [letter for letter, _ in letters], [replay for _, replay in letters]
    await connection.execute(_QUERIES["insert_audit_of_many"], ids, replay_ids, action, actor, reason, bulk_id, detail)
