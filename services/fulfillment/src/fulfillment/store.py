"""The SQL door of fulfillment."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fulfillment.model import Line, Order, RefundFact, RefundRank, Shipment, ShipmentState
from payments_shared.postgres import Connection
from payments_shared.queries import load_queries

_QUERIES = load_queries("fulfillment")


async def lock_order(connection: Connection, order_id: UUID) -> Order:
    """What is known of the order, locked until the transaction ends; made empty when it is the first fact."""
    await connection.execute(_QUERIES["ensure_order"], order_id)
    row = await connection.fetchrow(_QUERIES["lock_order"], order_id)
    assert row is not None  # noqa: S101 - the row was made one statement ago
    return Order(
        order_id=order_id,
        lines=None if row["lines"] is None else _lines(row["lines"]),
        total_minor=row["total_minor"],
        stock_committed=row["stock_committed"],
        held_at=row["held_at"],
        unheld_at=row["unheld_at"],
        refunds={
            key: RefundFact(RefundRank(value["rank"]), bool(value["whole"])) for key, value in row["refunds"].items()
        },
        address=row["address"],
        customer=row["customer"],
    )


async def save_order(connection: Connection, order: Order) -> None:
    """Save all facts of the order."""
    await connection.execute(
        _QUERIES["save_order"],
        order.order_id,
        None if order.lines is None else _json(order.lines),
        order.address,
        order.customer,
        order.total_minor,
        order.stock_committed,
        order.held_at,
        order.unheld_at,
        {key: {"rank": int(fact.rank), "whole": fact.whole} for key, fact in order.refunds.items()},
    )


async def shipment_of(connection: Connection, order_id: UUID) -> Shipment | None:
    """The shipment of an order; the order's row is the lock."""
    return _shipment(await connection.fetchrow(_QUERIES["load_shipment_of_order"], order_id))


async def lock_shipment(connection: Connection, shipment_id: UUID) -> Shipment | None:
    """One shipment, locked until the transaction ends."""
    return _shipment(await connection.fetchrow(_QUERIES["lock_shipment"], shipment_id))


async def list_shipments(connection: Connection, order_id: UUID) -> list[Shipment]:
    """The shipments of an order."""
    rows = await connection.fetch(_QUERIES["list_shipments"], order_id)
    return [shipment for row in rows if (shipment := _shipment(row))]


async def insert_shipment(connection: Connection, shipment: Shipment, order: Order) -> None:
    """Save a new shipment; the constraint refuses a second one of the order."""
    await connection.execute(
        _QUERIES["insert_shipment"], shipment.id, shipment.order_id, _json(shipment.lines), order.address
    )


async def update_shipment(
    connection: Connection,
    shipment_id: UUID,
    state: ShipmentState,
    *,
    carrier: str | None = None,
    tracking_number: str | None = None,
) -> None:
    """Save the new state of a shipment."""
    await connection.execute(_QUERIES["update_shipment"], shipment_id, state.value, carrier, tracking_number)


async def record_transition(
    connection: Connection, shipment_id: UUID, before: ShipmentState | None, after: ShipmentState, cause: str
) -> None:
    """Append to the history of a shipment."""
    await connection.execute(_QUERIES["insert_transition"], shipment_id, before and before.value, after.value, cause)


def _shipment(row: Any) -> Shipment | None:  # Any: asyncpg.Record has untyped columns
    if row is None:
        return None
    return Shipment(
        id=row["id"],
        order_id=row["order_id"],
        state=ShipmentState(row["state"]),
        lines=_lines(row["lines"]),
        carrier=row["carrier"],
        tracking_number=row["tracking_number"],
    )


def _lines(value: Sequence[dict[str, Any]]) -> tuple[Line, ...]:  # Any: jsonb
    return tuple(Line(line["sku"], line["quantity"]) for line in value)


def _json(lines: Sequence[Line]) -> list[dict[str, object]]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]
