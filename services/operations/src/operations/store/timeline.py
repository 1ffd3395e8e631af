"""The timeline of orders."""

from uuid import UUID

from operations.model.timeline import Mentioned
from operations.store import Row
from payments_shared.messaging import Envelope
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
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


async def mentions(connection: Connection, reference: str, limit: int) -> list[Mentioned]:
    """Messages in which a reference such as `pi_...` stands, the latest first."""
    return await fetch_as(connection, Mentioned, _QUERIES["find_messages"], reference, limit)


async def orders_of(connection: Connection, reference: str, limit: int) -> list[str]:
    """Orders of which a message bears a reference, or was about the customer with that subject; those of which
    something was said last come first."""
    rows = await connection.fetch(_QUERIES["find_orders"], reference, limit)
    return [row["order_ref"] for row in rows]


async def message(connection: Connection, message_id: UUID) -> Mentioned | None:
    """One message."""
    return await fetch_one_as(connection, Mentioned, _QUERIES["find_message"], message_id)


async def knows(connection: Connection, order_ref: str) -> bool:
    """Whether anything was ever said of an order."""
    return bool(await connection.fetchval(_QUERIES["order_is_known"], order_ref))
