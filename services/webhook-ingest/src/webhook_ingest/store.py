"""The SQL door of webhook-ingest."""

from collections.abc import Sequence

from payments_shared.messaging.outbox import OutboxRow
from payments_shared.postgres import Connection
from payments_shared.queries import load_queries
from webhook_ingest.model import Event

_QUERIES = load_queries("webhook_ingest")


async def store_events(
    connection: Connection, events: Sequence[Event], messages: Sequence[tuple[str, OutboxRow]], *, source: str
) -> set[str]:
    """Store `events` and the `messages` of those among them that are new; return the ids that are new.

    Ids must be unique within the call. One statement, and so one commit.
    """
    rows = await connection.fetch(
        _QUERIES["store_events"],
        [event.day for event in events],
        [event.event_id for event in events],
        [event.type for event in events],
        [event.object_id for event in events],
        [event.livemode for event in events],
        [event.account for event in events],
        [event.api_version for event in events],
        [event.state.value for event in events],
        [event.reason for event in events],
        [event.raw for event in events],
        [event_id for event_id, _ in messages],
        [row.day for _, row in messages],
        [row.message_id for _, row in messages],
        [row.type for _, row in messages],
        [row.routing_key for _, row in messages],
        [row.partition_key for _, row in messages],
        [row.correlation_id for _, row in messages],
        source,
        [row.body for _, row in messages],
    )
    return {row["event_id"] for row in rows}
