"""The SQL door of inventory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from inventory.model import Line, Reservation, Restock, Standing, State, Step, Stock
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
    attempt: int


@dataclass(frozen=True, slots=True)
class _LineRow:
    order_id: UUID
    sku: str
    quantity: int
    restocked: int


async def hold_stock(
    connection: Connection, order_id: UUID, lines: Sequence[Line], expires_at: datetime
) -> list[HoldRow]:
    """Reserve `lines`, one per SKU, for an order that has no reservation yet: all of them or none.

    The transaction must be rolled back when the result is claimed but not taken.
    """
    return await fetch_as(connection, HoldRow, QUERIES["hold_stock"], order_id, expires_at, *_columns(lines))


async def load_reservation(connection: Connection, order_id: UUID) -> Reservation | None:
    """The reservation of an order with its lines, not locked."""
    rows = await fetch_as(connection, _ReservationRow, QUERIES["load_reservation"], order_id)
    return (await _with_lines(connection, rows)).get(order_id)


async def lock_reservations(
    connection: Connection, order_ids: Collection[UUID], *, made: Collection[UUID]
) -> dict[UUID, Reservation]:
    """The reservations of `order_ids`, locked until the transaction ends; orders that were not known are left out.

    Those of them in `made` are locked as well, against a hold on its way: the transaction must save a reservation of
    each.
    """
    if made:
        await connection.execute(QUERIES["claim_reservations"], list(made))
    rows = await fetch_as(connection, _ReservationRow, QUERIES["lock_reservations"], list(order_ids))
    return await _with_lines(connection, [row for row in rows if row.version > 0])


async def _with_lines(connection: Connection, rows: Sequence[_ReservationRow]) -> dict[UUID, Reservation]:
    lines: dict[UUID, list[Line]] = {row.order_id: [] for row in rows}
    restocked: dict[UUID, dict[str, int]] = {row.order_id: {} for row in rows}
    for line in await fetch_as(connection, _LineRow, QUERIES["load_lines"], list(lines)) if rows else ():
        lines[line.order_id].append(Line(line.sku, line.quantity))
        if line.restocked:
            restocked[line.order_id][line.sku] = line.restocked
    return {
        row.order_id: Reservation(
            row.order_id,
            State(row.state),
            Standing(row.standing),
            row.expires_at,
            row.version,
            tuple(lines[row.order_id]),
            MappingProxyType(restocked[row.order_id]),
            row.attempt,
        )
        for row in rows
    }


async def save_reservations(connection: Connection, reservations: Sequence[Reservation]) -> None:
    """Save reservations that are locked."""
    await connection.execute(
        QUERIES["save_reservations"],
        [reservation.order_id for reservation in reservations],
        [reservation.state for reservation in reservations],
        [reservation.standing for reservation in reservations],
        [reservation.expires_at for reservation in reservations],
        [reservation.version for reservation in reservations],
        [reservation.attempt for reservation in reservations],
    )


async def insert_lines(connection: Connection, reservations: Sequence[Reservation]) -> None:
    """Save the lines of reservations that had none; the lines of an order never change."""
    lines = [(reservation.order_id, line) for reservation in reservations for line in reservation.lines]
    await connection.execute(
        QUERIES["insert_lines"],
        [order_id for order_id, _ in lines],
        [line.sku for _, line in lines],
        [line.quantity for _, line in lines],
    )


async def insert_transitions(connection: Connection, steps: Sequence[Step]) -> None:
    """Append to the history of reservations, in this order."""
    await connection.execute(
        QUERIES["insert_transitions"],
        [step.order_id for step in steps],
        [step.before for step in steps],
        [step.after for step in steps],
        [step.reason for step in steps],
    )


async def lock_stock(connection: Connection, skus: Sequence[str]) -> list[Stock]:
    """The stock of `skus`, locked in their order until the transaction ends; unknown ones are left out."""
    return await fetch_as(connection, Stock, QUERIES["lock_stock"], list(skus))


async def move_stock(connection: Connection, moved: Mapping[str, tuple[int, int, int]]) -> None:
    """Change (available, held, committed) by SKU; the constraints refuse what would go below zero."""
    columns = list(zip(*moved.values(), strict=True))
    await connection.execute(QUERIES["move_stock"], list(moved), *(list(column) for column in columns))


async def list_returned(connection: Connection, shipment_ids: Sequence[UUID]) -> set[UUID]:
    """Those of `shipment_ids` whose goods came back already."""
    rows = await connection.fetch(QUERIES["list_returned"], list(shipment_ids))
    return {row["shipment_id"] for row in rows}


async def insert_restocks(connection: Connection, restocks: Sequence[Restock]) -> None:
    """Remember that the goods of these shipments came back; the key refuses a second time."""
    await connection.execute(
        QUERIES["insert_restocks"],
        [restock.shipment_id for restock in restocks],
        [restock.order_id for restock in restocks],
        [restock.reason for restock in restocks],
    )


async def save_restocked(connection: Connection, reservations: Sequence[Reservation]) -> None:
    """Save what of the lines of locked reservations came back."""
    lines = [(one.order_id, sku, quantity) for one in reservations for sku, quantity in one.restocked.items()]
    await connection.execute(
        QUERIES["save_restocked"],
        [order_id for order_id, _, _ in lines],
        [sku for _, sku, _ in lines],
        [quantity for _, _, quantity in lines],
    )


async def list_overdue(connection: Connection, grace_seconds: float) -> list[UUID]:
    """Orders whose deadline passed more than `grace_seconds` of business time ago."""
    return [row["order_id"] for row in await connection.fetch(QUERIES["list_overdue"], grace_seconds)]


async def is_overdue(connection: Connection, order_id: UUID, grace_seconds: float) -> bool:
    """Whether the order's deadline has passed so long ago; under its lock it stays so."""
    return bool(await connection.fetchval(QUERIES["is_overdue"], order_id, grace_seconds))


async def list_stock(connection: Connection) -> list[Stock]:
    """All SKUs."""
    return await fetch_as(connection, Stock, QUERIES["list_stock"])


async def put_stock(connection: Connection, sku: str, total: int) -> Stock | None:
    """Set the total of a SKU; None when more than that is promised."""
    return await fetch_one_as(connection, Stock, QUERIES["put_stock"], sku, total)


def _columns(lines: Sequence[Line]) -> tuple[list[str], list[int]]:
    return [line.sku for line in lines], [line.quantity for line in lines]
