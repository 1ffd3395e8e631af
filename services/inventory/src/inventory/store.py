"""The SQL door of inventory."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from inventory.decide import PILES, Move
from inventory.model import Available, Line, Reservation, State, Stock, StoredLine
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("inventory")


async def lock_reservation(connection: Connection, order_id: UUID) -> Reservation | None:
    """The reservation, locked until the transaction ends."""
    found = await fetch_one_as(connection, Reservation, _QUERIES["lock_reservation"], order_id)
    return found and Reservation(found.order_id, State(found.state), found.expires_at, found.settlement_failed)


async def load_lines(connection: Connection, order_id: UUID) -> list[StoredLine]:
    """The lines of a reservation."""
    return await fetch_as(connection, StoredLine, _QUERIES["load_lines"], order_id)


async def lock_stock(connection: Connection, lines: Sequence[Line]) -> list[Available]:
    """What is free of each SKU of `lines`, locked until the transaction ends."""
    return await fetch_as(connection, Available, _QUERIES["lock_stock"], [line.sku for line in lines])


async def move_stock(connection: Connection, lines: Sequence[Line], move: Move) -> list[Available]:
    """Move the quantities of `lines` between the piles; return what is available afterwards."""
    if move is Move.NONE or not lines:
        return []
    available, held, committed = PILES[move]
    return await _move(connection, lines, available, held, committed)


async def return_stock(connection: Connection, order_id: UUID, lines: Sequence[Line]) -> None:
    """Goods of an order are back on the shelf."""
    await connection.execute(
        _QUERIES["restock_lines"], order_id, [line.sku for line in lines], [line.quantity for line in lines]
    )
    await _move(connection, lines, +1, 0, -1)


async def _move(
    connection: Connection, lines: Sequence[Line], available: int, held: int, committed: int
) -> list[Available]:
    return await fetch_as(
        connection,
        Available,
        _QUERIES["move_stock"],
        [line.sku for line in lines],
        [available * line.quantity for line in lines],
        [held * line.quantity for line in lines],
        [committed * line.quantity for line in lines],
    )


async def insert_reservation(connection: Connection, new: Reservation) -> bool:
    """Insert `new`; False when the order has a row already."""
    row = await connection.fetchrow(
        _QUERIES["insert_reservation"], new.order_id, new.state.value, new.expires_at, new.settlement_failed
    )
    return row is not None


async def insert_lines(connection: Connection, order_id: UUID, lines: Sequence[Line]) -> None:
    """Remember the lines of an order."""
    await connection.execute(
        _QUERIES["insert_lines"], order_id, [line.sku for line in lines], [line.quantity for line in lines]
    )


async def update_reservation(connection: Connection, new: Reservation) -> None:
    """Save a reservation that exists."""
    await connection.execute(
        _QUERIES["update_reservation"], new.order_id, new.state.value, new.expires_at, new.settlement_failed
    )


async def record_transition(
    connection: Connection, order_id: UUID, before: State | None, after: State, cause: str
) -> None:
    """Append to the history of a reservation."""
    await connection.execute(_QUERIES["insert_transition"], order_id, before and before.value, after.value, cause)


async def claim_restock(connection: Connection, shipment_id: UUID, order_id: UUID) -> bool:
    """Whether the return of this shipment is new."""
    return await connection.fetchrow(_QUERIES["insert_restock"], shipment_id, order_id) is not None


async def lock_overdue(connection: Connection, grace_seconds: float) -> list[UUID]:
    """Orders whose hold is past its deadline by more than `grace_seconds`, locked."""
    return [row["order_id"] for row in await connection.fetch(_QUERIES["list_overdue"], grace_seconds)]


async def list_stock(connection: Connection) -> list[Stock]:
    """All SKUs."""
    return await fetch_as(connection, Stock, _QUERIES["list_stock"])


async def put_stock(connection: Connection, sku: str, total: int) -> Stock | None:
    """Set a total; None when more than that is promised."""
    try:
        return await fetch_one_as(connection, Stock, _QUERIES["put_stock"], sku, total)
    except asyncpg.CheckViolationError:
        return None
