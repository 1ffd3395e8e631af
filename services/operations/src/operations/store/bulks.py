"""Bulks: what operators asked for, and how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from operations.model.bulks import BulkState, Instruction, Running
from operations.model.letters import Filter
from operations.store import Row
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("operations")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A dead letter that an act would take; `matching` says how many there are, beyond any limit."""

    id: UUID
    service: str
    type: str
    matching: int


async def wanted(
    connection: Connection, filter_: Filter, statuses: Sequence[str], limit: int, *, doubtful: bool
) -> list[Wanted]:
    """What a filter means at this moment, the oldest first. Unless `doubtful`, what was forged or is forgotten is taken
    by its id alone."""
    ids = None if filter_.ids is None else list(filter_.ids)
    return await fetch_as(
        connection,
        Wanted,
        _QUERIES["select_wanted"],
        list(statuses),
        filter_.service,
        filter_.type,
        filter_.fingerprint,
        filter_.older_than_seconds,
        filter_.newer_than_seconds,
        ids,
        limit,
        doubtful,
    )


async def settled(connection: Connection, filter_: Filter, limit: int) -> list[Wanted]:
    """What a filter means at this moment of what is settled and in sight, the oldest first."""
    return await fetch_as(
        connection,
        Wanted,
        _QUERIES["select_settled"],
        filter_.status,
        filter_.service,
        filter_.type,
        filter_.fingerprint,
        filter_.older_than_seconds,
        filter_.newer_than_seconds,
        limit,
    )


async def insert(connection: Connection, bulk_id: UUID, asked: Instruction, taken: Sequence[Wanted]) -> None:
    """Write down a bulk with everything that it takes."""
    await connection.execute(
        _QUERIES["insert_bulk"],
        bulk_id,
        asked.act,
        asked.actor,
        asked.reason,
        as_json(asked.wanted),
        asked.rate,
        asked.force,
        len(taken),
    )
    await connection.execute(
        _QUERIES["insert_bulk_items"], bulk_id, [one.id for one in taken], [one.service for one in taken]
    )


def as_json(filter_: Filter) -> Row:
    """A filter as it was given, without what means any."""
    given = {
        "service": filter_.service,
        "type": filter_.type,
        "status": filter_.status,
        "fingerprint": filter_.fingerprint,
        "older_than_seconds": filter_.older_than_seconds,
        "newer_than_seconds": filter_.newer_than_seconds,
        "ids": None if filter_.ids is None else [str(one) for one in filter_.ids],
    }
    return {name: value for name, value in given.items() if value is not None}


async def listed(connection: Connection, limit: int) -> list[Row]:
    """The latest bulks."""
    return [dict(row) for row in await connection.fetch(_QUERIES["list_bulks"], limit)]


async def unfinished(connection: Connection) -> list[Row]:
    """Bulks that run or stand paused, the latest first."""
    return [dict(row) for row in await connection.fetch(_QUERIES["unfinished_bulks"])]


async def shown(connection: Connection, bulk_id: UUID) -> Row | None:
    """A bulk with its counts, what failed again, and what people did to it."""
    row = await connection.fetchrow(_QUERIES["show_bulk"], bulk_id)
    if row is None:
        return None
    counts = {found["state"]: found["messages"] for found in await connection.fetch(_QUERIES["count_items"], bulk_id)}
    failures = [dict(found) for found in await connection.fetch(_QUERIES["count_failures"], bulk_id)]
    audit = [dict(found) for found in await connection.fetch(_QUERIES["list_audit_of_bulk"], bulk_id)]
    return {**dict(row), "counts": counts, "failures": failures, "audit": audit}


async def change(
    connection: Connection, bulk_id: UUID, to: BulkState, reason: str | None, *, of: Sequence[BulkState]
) -> bool:
    """Bring a bulk to another state; False when it is in none of `of`."""
    states = [state.value for state in of]
    return await connection.fetchrow(_QUERIES["change_bulk"], bulk_id, to.value, reason, states) is not None


async def cancel_items(connection: Connection, bulk_id: UUID) -> None:
    """What waits to be claimed will not go."""
    await connection.execute(_QUERIES["cancel_items"], bulk_id)


async def running(connection: Connection) -> list[Running]:
    """Bulks to go on with, the oldest first."""
    return await fetch_as(connection, Running, _QUERIES["running_bulks"])


async def lock_running(connection: Connection, bulk_id: UUID) -> bool:
    """Hold a bulk as it is until the transaction ends; False when it does not run any more."""
    return await connection.fetchrow(_QUERIES["lock_running_bulk"], bulk_id) is not None


async def lock_sending(connection: Connection) -> list[UUID]:
    """Running bulks with something that nobody has tried to send, held as they are until the transaction ends."""
    return [row["id"] for row in await connection.fetch(_QUERIES["lock_sending_bulks"])]


async def oldest_pause_seconds(connection: Connection) -> float:
    """For how long a bulk has been paused; 0 when none is."""
    return float(await connection.fetchval(_QUERIES["oldest_pause_seconds"]))


async def waiting_services(connection: Connection, bulk_id: UUID) -> list[str]:
    """Services for which a bulk still has something waiting."""
    return [row["service"] for row in await connection.fetch(_QUERIES["waiting_services"], bulk_id)]


async def on_the_way(connection: Connection, bulk_id: UUID, service: str) -> int:
    """How many of a bulk were sent to a service and not told of yet."""
    return int(await connection.fetchval(_QUERIES["count_on_the_way"], bulk_id, service))


async def lock_pace(connection: Connection, service: str) -> tuple[datetime | None, datetime]:
    """Until when the service was given its share, or None if never, and the time now; locked."""
    row = await connection.fetchrow(_QUERIES["lock_pace"], service)
    assert row is not None  # noqa: S101 - an upsert returns its row
    return row["given_until"], row["now"]


async def set_pace(connection: Connection, service: str, given_until: datetime) -> None:
    """Remember what the service was given."""
    await connection.execute(_QUERIES["set_pace"], service, given_until)


async def next_items(connection: Connection, bulk_id: UUID, service: str, limit: int) -> list[UUID]:
    """The next dead letters of a bulk for a service."""
    rows = await connection.fetch(_QUERIES["next_items"], bulk_id, service, limit)
    return [row["dead_letter_id"] for row in rows]


async def move_items(connection: Connection, bulk_id: UUID, letters: Sequence[UUID], to: str) -> None:
    """Items of a bulk have come to another state."""
    await connection.execute(_QUERIES["move_items"], bulk_id, list(letters), to)


async def skip_items(connection: Connection, bulk_id: UUID, letters: Sequence[UUID]) -> None:
    """Items that were not free: replayed by somebody else, settled, failed anew, or replayed with an outcome that
    nobody knows. The note says which."""
    await connection.execute(_QUERIES["skip_items"], bulk_id, list(letters))


async def discard(connection: Connection, letters: Sequence[UUID], cutoff: datetime, *, force: bool) -> list[UUID]:
    """Discard what is open and did not fail after `cutoff`; unless `force`, nothing that may still take effect."""
    rows = await connection.fetch(_QUERIES["discard_dead_letters"], list(letters), cutoff, force)
    return [row["id"] for row in rows]


async def archive(connection: Connection, letters: Sequence[UUID], cutoff: datetime) -> list[UUID]:
    """Put out of sight what is settled still and did not fail after `cutoff`."""
    rows = await connection.fetch(_QUERIES["archive_dead_letters"], list(letters), cutoff)
    return [row["id"] for row in rows]


async def finish(connection: Connection) -> list[UUID]:
    """End the bulks that have nothing left, and return them."""
    return [row["id"] for row in await connection.fetch(_QUERIES["finish_bulks"])]
