"""The SQL door of fulfillment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from fulfillment.model import Goods, Line, Order, Refund, Shipment, ShipmentState, Verdict
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

QUERIES = load_queries("fulfillment")

Json = dict[str, Any]  # Any: a jsonb object


@dataclass(frozen=True, slots=True)
class _OrderRow:
    order_id: UUID
    goods: Json | None
    stock_committed: bool
    held_at: datetime | None
    unheld_at: datetime | None
    refunds: list[Json]


@dataclass(frozen=True, slots=True)
class _ShipmentRow:
    id: UUID
    order_id: UUID
    state: str
    lines: list[Json]
    carrier: str | None
    tracking_number: str | None
    version: int


async def lock_order(connection: Connection, order_id: UUID) -> Order:
    """What is known of the order, locked until the transaction ends; made empty at its first fact."""
    await connection.execute(QUERIES["insert_order"], order_id)
    row = await fetch_one_as(connection, _OrderRow, QUERIES["lock_order"], order_id)
    if row is None:
        raise LookupError(f"order {order_id} vanished")  # nobody may delete orders
    refunds = [_refund(value) for value in row.refunds]
    return Order(
        order_id=row.order_id,
        goods=_goods(row.goods) if row.goods else None,
        stock_committed=row.stock_committed,
        held_at=row.held_at,
        unheld_at=row.unheld_at,
        refunds=MappingProxyType({refund.refund_id: refund for refund in refunds}),
    )


async def save_order(connection: Connection, order: Order) -> None:
    """Save all facts of an order that is locked."""
    await connection.execute(
        QUERIES["save_order"],
        order.order_id,
        _goods_json(order.goods) if order.goods else None,
        order.stock_committed,
        order.held_at,
        order.unheld_at,
        [_refund_json(refund) for refund in order.refunds.values()],
    )


async def find_order_of(connection: Connection, shipment_id: UUID) -> UUID | None:
    """The order of a shipment, which never changes."""
    row = await connection.fetchrow(QUERIES["find_order_of"], shipment_id)
    return row["order_id"] if row else None


async def load_address(connection: Connection, order_id: UUID) -> dict[str, str | None] | None:
    """Where the goods of an order go; None when it is not paid, or needs no address."""
    row = await connection.fetchrow(QUERIES["load_address"], order_id)
    return row["address"] if row else None


async def list_shipments(connection: Connection, order_id: UUID) -> list[Shipment]:
    """The shipments of an order, canceled ones too."""
    rows = await fetch_as(connection, _ShipmentRow, QUERIES["list_shipments"], order_id)
    return [
        Shipment(
            id=row.id,
            order_id=row.order_id,
            state=ShipmentState(row.state),
            lines=_lines(row.lines),
            carrier=row.carrier,
            tracking_number=row.tracking_number,
            version=row.version,
        )
        for row in rows
    ]


async def save_shipment(connection: Connection, shipment: Shipment) -> None:
    """Save a shipment, new or changed, whose order is locked."""
    await connection.execute(
        QUERIES["save_shipment"],
        shipment.id,
        shipment.order_id,
        shipment.state.value,
        _lines_json(shipment.lines),
        shipment.carrier,
        shipment.tracking_number,
        shipment.version,
    )


async def insert_transition(
    connection: Connection,
    shipment_id: UUID,
    before: ShipmentState | None,
    after: ShipmentState,
    reason: str,
) -> None:
    """Append to the history of a shipment."""
    await connection.execute(QUERIES["insert_transition"], shipment_id, before, after, reason)


def _goods(value: Json) -> Goods:
    return Goods(
        lines=_lines(value["lines"]),
        total_minor=value["total_minor"],
        payment_intents=frozenset(value["payment_intents"]),
        address=value["address"],
        customer=value["customer"],
    )


def _goods_json(goods: Goods) -> Json:
    return {
        "lines": _lines_json(goods.lines),
        "total_minor": goods.total_minor,
        "payment_intents": sorted(goods.payment_intents),
        "address": goods.address,
        "customer": goods.customer,
    }


def _refund(value: Json) -> Refund:
    return Refund(
        refund_id=UUID(value["refund_id"]),
        payment_intent=value["payment_intent"],
        amount_minor=value["amount_minor"],
        reason=value["reason"],
        lines=_lines(value["lines"]),
        verdicts=frozenset(Verdict(verdict) for verdict in value["verdicts"]),
    )


def _refund_json(refund: Refund) -> Json:
    return {
        "refund_id": str(refund.refund_id),
        "payment_intent": refund.payment_intent,
        "amount_minor": refund.amount_minor,
        "reason": refund.reason,
        "lines": _lines_json(refund.lines),
        "verdicts": sorted(refund.verdicts),
    }


def _lines(value: Sequence[Json]) -> tuple[Line, ...]:
    return tuple(Line(line["sku"], line["quantity"]) for line in value)


def _lines_json(lines: Sequence[Line]) -> list[Json]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]
