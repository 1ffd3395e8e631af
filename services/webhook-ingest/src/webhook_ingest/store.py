"""The SQL door of webhook-ingest."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from payments_shared.messaging.envelope import TAIL
from payments_shared.postgres import Connection
from payments_shared.queries import load_queries
from webhook_ingest.model import Event

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
