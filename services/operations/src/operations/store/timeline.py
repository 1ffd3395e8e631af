"""The timeline of orders."""

from operations.store import Row
from payments_shared.messaging import Envelope
from payments_shared.postgres import Connection
from payments_shared.queries import load_queries

_QUERIES = load_queries("operations")


async def append(connection: Connection, envelope: Envelope, order_ref: str | None, data: Row) -> None:
    """Keep a copy of a message."""
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


async def of_order(connection: Connection, order_ref: str) -> tuple[list[Row], list[Row]]:
    """Messages and dead letters of an order."""
    messages = [dict(row) for row in await connection.fetch(_QUERIES["order_timeline"], order_ref)]
    letters = [dict(row) for row in await connection.fetch(_QUERIES["order_dead_letters"], order_ref)]
    return messages, letters
