"""The SQL door of fulfillment."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from fulfillment.model import Dispute, Goods, Line, Order, Outcome, Refund, Shipment, ShipmentState, Step, Verdict
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

QUERIES = load_queries("fulfillment")

Json = dict[str, Any]  # Any: a jsonb object. In arrays of parameters it goes as text: a list would be a dimension.


@dataclass(frozen=True, slots=True)
class _OrderRow:
    order_id: UUID
    goods: Json | None
    stock_committed: bool
    held_at: datetime | None
    unheld_at: datetime | None
    causes: Json
    refunds: list[Json]
    digital_delivered: bool
    disputes: list[Json]


@dataclass(frozen=True, slots=True)
class _ShipmentRow:
    id: UUID
    order_id: UUID
    state: str
    lines: list[Json]
    carrier: str | None
    tracking_number: str | None
    version: int


async def lock_orders(connection: Connection, order_ids: Iterable[UUID]) -> dict[UUID, Order]:
    """What is known of these orders, locked until the transaction ends; made empty at their first fact."""
    wanted = list(set(order_ids))
    await connection.execute(QUERIES["insert_orders"], wanted)
    rows = await fetch_as(connection, _OrderRow, QUERIES["lock_orders"], wanted)
    return {row.order_id: _order(row) for row in rows}


async def save_orders(connection: Connection, orders: Sequence[Order]) -> None:
    """Save all facts of orders that are locked."""
    await connection.execute(
        QUERIES["save_orders"],
        [order.order_id for order in orders],
        [json.dumps(_goods_json(order.goods)) if order.goods else None for order in orders],
        [order.stock_committed for order in orders],
        [order.held_at for order in orders],
        [order.unheld_at for order in orders],
        [json.dumps({"held": sorted(order.held_for), "over": sorted(order.over)}) for order in orders],
        [json.dumps([_refund_json(refund) for refund in order.refunds.values()]) for order in orders],
        [order.digital_delivered for order in orders],
        [json.dumps([_dispute_json(dispute) for dispute in order.disputes.values()]) for order in orders],
    )


async def find_order_of(connection: Connection, shipment_id: UUID) -> UUID | None:
    """The order of a shipment, which never changes."""
    row = await connection.fetchrow(QUERIES["find_order_of"], shipment_id)
    return row["order_id"] if row else None


async def load_order(connection: Connection, order_id: UUID) -> Order | None:
    """What is known of an order, not locked."""
    row = await fetch_one_as(connection, _OrderRow, QUERIES["load_order"], order_id)
    return _order(row) if row else None


async def list_shipments(connection: Connection, order_ids: Iterable[UUID]) -> list[Shipment]:
    """The shipments of these orders, canceled ones too."""
    rows = await fetch_as(connection, _ShipmentRow, QUERIES["list_shipments"], list(set(order_ids)))
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


async def save_shipments(connection: Connection, shipments: Sequence[Shipment]) -> None:
    """Save shipments, new or changed, whose orders are locked."""
    await connection.execute(
        QUERIES["save_shipments"],
        [shipment.id for shipment in shipments],
        [shipment.order_id for shipment in shipments],
        [shipment.state.value for shipment in shipments],
        [json.dumps(_lines_json(shipment.lines)) for shipment in shipments],
        [shipment.carrier for shipment in shipments],
        [shipment.tracking_number for shipment in shipments],
        [shipment.version for shipment in shipments],
    )


async def insert_transitions(connection: Connection, steps: Sequence[Step]) -> None:
    """Append to the history of shipments, in this order."""
    await connection.execute(
        QUERIES["insert_transitions"],
        [step.shipment_id for step in steps],
        [step.before for step in steps],
        [step.after for step in steps],
        [step.reason for step in steps],
    )


def _order(row: _OrderRow) -> Order:
    refunds = [_refund(value) for value in row.refunds]
    disputes = [_dispute(value) for value in row.disputes]
    return Order(
        order_id=row.order_id,
        goods=_goods(row.goods) if row.goods else None,
        stock_committed=row.stock_committed,
        held_at=row.held_at,
        unheld_at=row.unheld_at,
        held_for=frozenset(row.causes["held"]),
        over=frozenset(row.causes["over"]),
        refunds=MappingProxyType({refund.refund_id: refund for refund in refunds}),
        digital_delivered=row.digital_delivered,
        disputes=MappingProxyType({dispute.dispute_id: dispute for dispute in disputes}),
    )


def _goods(value: Json) -> Goods:
    return Goods(
        lines=_lines(value["lines"]),
        total_minor=value["total_minor"],
        payment_intents=frozenset(value["payment_intents"]),
        address=value["address"],
        customer=value["customer"],
        way=value.get("way"),
        digital=_lines(value.get("digital", ())),
    )


def _goods_json(goods: Goods) -> Json:
    return {
        "lines": _lines_json(goods.lines),
        "total_minor": goods.total_minor,
        "payment_intents": sorted(goods.payment_intents),
        "address": goods.address,
        "customer": goods.customer,
        "way": goods.way,
        "digital": _lines_json(goods.digital),
    }


def _refund(value: Json) -> Refund:
    return Refund(
        refund_id=UUID(value["refund_id"]),
        payment_intent=value["payment_intent"],
        amount_minor=value["amount_minor"],
        reason=value["reason"],
        lines=_lines(value["lines"]),
        verdicts=frozenset(Verdict(verdict) for verdict in value["verdicts"]),
        unsellable=_lines(value.get("unsellable", ())),
    )


def _refund_json(refund: Refund) -> Json:
    return {
        "refund_id": str(refund.refund_id),
        "payment_intent": refund.payment_intent,
        "amount_minor": refund.amount_minor,
        "reason": refund.reason,
        "lines": _lines_json(refund.lines),
        "verdicts": sorted(refund.verdicts),
        "unsellable": _lines_json(refund.unsellable),
    }


def _dispute(value: Json) -> Dispute:
    return Dispute(value["dispute_id"], value["payment_intent"], value["version"], Outcome(value["outcome"]))


def _dispute_json(dispute: Dispute) -> Json:
    return {
        "dispute_id": dispute.dispute_id,
        "payment_intent": dispute.payment_intent,
        "version": dispute.version,
        "outcome": dispute.outcome.value,
    }


def _lines(value: Sequence[Json]) -> tuple[Line, ...]:
    return tuple(Line(line["sku"], line["quantity"]) for line in value)


def _lines_json(lines: Sequence[Line]) -> list[Json]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]
