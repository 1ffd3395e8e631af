"""Arithmetic of lines: one per SKU, sorted, never empty."""

from collections.abc import Sequence
from uuid import UUID

from fulfillment.model import Line, Order, Shipment
from payments_shared.ids import derived_id


def merged(lines: Sequence[Line]) -> tuple[Line, ...]:
    """One line per SKU, sorted."""
    totals: dict[str, int] = {}
    for line in lines:
        totals[line.sku] = totals.get(line.sku, 0) + line.quantity
    return tuple(Line(sku, totals[sku]) for sku in sorted(totals))


def common(left: Sequence[Line], wanted: Sequence[Line]) -> tuple[Line, ...]:
    """As much of `wanted` as is `left`."""
    quantities = {line.sku: line.quantity for line in left}
    return tuple(
        Line(line.sku, min(line.quantity, quantities[line.sku])) for line in merged(wanted) if quantities.get(line.sku)
    )


def without(lines: Sequence[Line], taken: Sequence[Line]) -> tuple[Line, ...]:
    """What of `lines` remains once `taken` is gone."""
    gone = {line.sku: line.quantity for line in taken}
    rest = (Line(line.sku, line.quantity - gone.get(line.sku, 0)) for line in lines)
    return tuple(line for line in rest if line.quantity > 0)


def cut_id(order_id: UUID, refund_id: UUID) -> UUID:
    """The canceled shipment of what a refund takes out of a parcel."""
    return derived_id("shipment", str(order_id), "refund", str(refund_id))


def unsellable_in(order: Order, lines: Sequence[Line], shipments: Sequence[Shipment]) -> tuple[Line, ...]:
    """What of `lines` does not return to the shelf: as much as refunds that are agreed to call unsellable, but for what
    was taken out for them as a shipment of its own, which is among `shipments`."""
    taken = {shipment.id for shipment in shipments}
    here = [
        refund
        for refund in order.refunds.values()
        if (refund.under_way or refund.succeeded) and cut_id(order.order_id, refund.refund_id) not in taken
    ]
    return common(lines, [line for refund in here for line in refund.unsellable])


def left_of(lines: tuple[Line, ...], shipments: Sequence[Shipment]) -> tuple[Line, ...]:
    """What of `lines` is in none of `shipments`."""
    for shipment in shipments:
        lines = without(lines, shipment.lines)
    return lines
