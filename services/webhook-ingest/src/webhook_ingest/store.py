"""The SQL door of webhook-ingest."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from payments_shared.messaging.envelope import TAIL
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries
from webhook_ingest.model import Delivery, Event, Looked, Resend, Stored, Wanted

_QUERIES = load_queries("webhook_ingest")


class Said(NamedTuple):
    """The message of an event: all but its data, which is the event's own bytes. Empty when nobody hears it."""

    message_id: str = ""
    routing_key: str = ""
    head: str = ""


async def store_events(
    connection: Connection, events: Sequence[Event], messages: Sequence[Said], *, source: str
) -> set[str]:
    """Store `events`, each with its message if it has one and if it is new; return the ids that are new.

    Ids must be unique within the call, and all events of one day, mode, account and version. One statement, and so one
    commit.
    """
    rows = [
        (e.event_id, e.type, e.object_id or "", e.state, e.reason or "", m.message_id, m.routing_key, e.partition_key,
         e.order_id or "", m.head)
        for e, m in zip(events, messages, strict=True)
    ]  # fmt: skip
    first = events[0]
    fresh: str | None = await connection.fetchval(
        _QUERIES["store_events"],
        *map("\n".join, zip(*rows, strict=True)),
        [event.raw for event in events],
        first.day,
        first.livemode,
        first.account,
        first.api_version,
        source,
        TAIL.decode(),
    )
    return set(fresh.split("\n")) if fresh else set()


async def sources_of(connection: Connection, events: Sequence[Event]) -> dict[str, str]:
    """How those of `events` came that are stored, `webhook` or `pull`, by their ids."""
    days, ids = [event.day for event in events], [event.event_id for event in events]
    rows = await connection.fetch(_QUERIES["sources_of"], days, ids)
    return {row["event_id"]: row["source"] for row in rows}


async def business_now(connection: Connection) -> datetime:
    """The clock of deadlines, and of Stripe where another server stands in for it."""
    now: datetime = await connection.fetchval(_QUERIES["business_now"])
    return now


async def load_looked(connection: Connection) -> Looked:
    """How far Stripe's list was looked through."""
    row = await connection.fetchrow(_QUERIES["load_looked"])
    assert row is not None  # noqa: S101 - the table was made with its one row
    return Looked(row["now"], row["looked_until"], row["ended_ago"])


async def keep_looked(connection: Connection, until: datetime) -> None:
    """All that was created before `until` has been looked through; never less than before."""
    await connection.execute(_QUERIES["keep_looked"], until)


async def end_look(connection: Connection) -> None:
    """A look has come to its end now."""
    await connection.execute(_QUERIES["end_look"])


async def list_events(connection: Connection, wanted: Wanted, limit: int) -> list[Stored]:
    """A page of a day, the latest stored first."""
    place = (wanted.before, wanted.before_id)
    sql = _QUERIES["list_events"]
    return await fetch_as(connection, Stored, sql, wanted.day, wanted.type, wanted.state, wanted.named, *place, limit)


async def show_event(connection: Connection, day: date, event_id: str) -> tuple[Stored, bytes] | None:
    """One event with its bytes."""
    row = await connection.fetchrow(_QUERIES["show_event"], day, event_id)
    if row is None:
        return None
    given = dict(row)
    raw: bytes = given.pop("raw")
    return Stored(**given), raw


async def deliveries(connection: Connection, day: date, message_ids: Sequence[UUID]) -> dict[UUID, Delivery]:
    """The messages of events of one day that are kept, by their ids."""
    found = await fetch_as(connection, Delivery, _QUERIES["deliveries"], day, list(message_ids))
    return {one.message_id: one for one in found}


async def list_resends(connection: Connection, day: date, event_id: str) -> list[Resend]:
    """Who handed an event to the broker again, the earliest first."""
    return await fetch_as(connection, Resend, _QUERIES["list_resends"], day, event_id)


async def hand_over_again(connection: Connection, day: date, message_id: UUID) -> bool:
    """Let the relay publish a message again; False where it is not kept."""
    return await connection.fetchval(_QUERIES["hand_over_again"], day, message_id) is not None


async def insert_resend(connection: Connection, day: date, event_id: str, *, actor: str, reason: str) -> None:
    """Write down who did so, and why."""
    await connection.execute(_QUERIES["insert_resend"], day, event_id, actor, reason)
