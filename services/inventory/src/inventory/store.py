"""The SQL door of inventory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from inventory.decide import Move
from inventory.model import Line, Reservation, Standing, State, Stock
from payments_shared.errors import Retryable
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

QUERIES = load_queries("inventory")


@dataclass(frozen=True, slots=True)
class HoldRow:
    """One wanted SKU, with what was free of it before.

    `claimed`: the order had no reservation and has one now; the stock is locked. `taken`: all lines are held.
    """

    sku: str
    available: int
    claimed: bool
    taken: bool


@dataclass(frozen=True, slots=True)
class _ReservationRow:
    order_id: UUID
    state: str
    standing: str
    expires_at: datetime | None
    version: int
    skus: list[str]
    quantities: list[int]


async def hold_stock(
    connection: Connection, order_id: UUID, lines: Sequence[Line], expires_at: datetime
) -> list[HoldRow]:
    """Reserve `lines`, one per SKU, for an order that has no reservation yet: all of them or none.

    The transaction must be rolled back when the result is claimed but not taken.
    """
    return await fetch_as(connection, HoldRow, QUERIES["hold_stock"], order_id, expires_at, *_columns(lines))


async def take_turn(connection: Connection) -> None:
    """Keep holds and other transactions that apply messages out until this transaction ends."""
    await connection.execute(QUERIES["take_turn"])


async def load_reservation(connection: Connection, order_id: UUID) -> Reservation | None:
    """The reservation of an order with its lines."""
    row = await fetch_one_as(connection, _ReservationRow, QUERIES["load_reservation"], order_id)
    if row is None:
        return None
    lines = tuple(Line(sku, quantity) for sku, quantity in zip(row.skus, row.quantities, strict=True))
    return Reservation(row.order_id, State(row.state), Standing(row.standing), row.expires_at, row.version, lines)


async def lock_stock(connection: Connection, skus: Sequence[str]) -> list[Stock]:
    """The stock of `skus`, locked in their order until the transaction ends; unknown ones are left out."""
    return await fetch_as(connection, Stock, QUERIES["lock_stock"], list(skus))


async def save_step(
    connection: Connection, before: State | None, after: Reservation, *, move: Move, reason: str
) -> None:
    """Save one step: the reservation, its lines when they are new, its history, and the units that move.

    The constraints refuse what would go below zero.

    Raises:
        Retryable: the reservation is not at the version before `after`'s any more.
    """
    saved = await connection.fetchrow(
        QUERIES["save_step"],
        after.order_id,
        after.state,
        after.standing,
        after.expires_at,
        after.version,
        before,
        reason,
        *_columns(after.lines),
        *move.value,
    )
    if saved is None:
        raise Retryable("reservation_moved", "The reservation was changed meanwhile.")


async def move_stock(connection: Connection, lines: Sequence[Line], move: Move) -> None:
    """Move the units of `lines` between the piles; the constraints refuse what would go below zero."""
    await connection.execute(QUERIES["move_stock"], *_columns(lines), *move.value)


async def insert_restock(connection: Connection, shipment_id: UUID, order_id: UUID, reason: str) -> bool:
    """Whether the return of this shipment is new; it is recorded now."""
    return await connection.fetchrow(QUERIES["insert_restock"], shipment_id, order_id, reason) is not None


async def restock_lines(connection: Connection, order_id: UUID, lines: Sequence[Line]) -> bool:
    """Count `lines` as come back; False when the order has not that much left to return."""
    rows = await connection.fetch(QUERIES["restock_lines"], order_id, *_columns(lines))
    return len(rows) == len(lines)


async def list_overdue(connection: Connection, grace_seconds: float) -> list[UUID]:
    """Orders whose deadline passed more than `grace_seconds` of business time ago."""
    return [row["order_id"] for row in await connection.fetch(QUERIES["list_overdue"], grace_seconds)]


async def list_stock(connection: Connection) -> list[Stock]:
    """All SKUs."""
    return await fetch_as(connection, Stock, QUERIES["list_stock"])


async def put_stock(connection: Connection, sku: str, total: int) -> Stock | None:
    """Set the total of a SKU; None when more than that is promised."""
    return await fetch_one_as(connection, Stock, QUERIES["put_stock"], sku, total)


def _columns(lines: Sequence[Line]) -> tuple[list[str], list[int]]:
    return [line.sku for line in lines], [line.quantity for line in lines]
