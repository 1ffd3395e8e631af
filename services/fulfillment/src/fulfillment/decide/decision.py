"""What a decision is, and the words it is announced with."""

from dataclasses import dataclass

from fulfillment.decide.lines import without
from fulfillment.model import Line, Order, Shipment
from payments_shared.contracts.checkout import Customer
from payments_shared.contracts.fulfillment import (
    DigitalDelivered,
    ShipmentCanceled,
    ShipmentCreated,
    ShipmentDelivered,
    ShipmentReturned,
    ShipmentShipped,
)
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import Message


@dataclass(frozen=True, slots=True)
class Decision:
    """What must become true: shipments that are new or changed, what to say, and that what is digital is delivered."""

    shipments: tuple[Shipment, ...] = ()
    announce: tuple[Message, ...] = ()
    digital_delivered: bool = False


def said_created(order: Order, parcel: Shipment) -> ShipmentCreated:
    """The parcel is being made ready."""
    return ShipmentCreated(
        order_id=order.order_id, shipment_id=parcel.id, lines=_stock(parcel.lines), customer=_customer(order)
    )


def said_digital_delivered(order: Order, lines: tuple[Line, ...]) -> DigitalDelivered:
    """What is not sent is the buyer's."""
    return DigitalDelivered(order_id=order.order_id, lines=_stock(lines), customer=_customer(order))


def said_canceled(
    shipment: Shipment, reason: str, unsellable: tuple[Line, ...], *, others_gone: bool
) -> ShipmentCanceled:
    """The lines go back on the shelf, but for what is unsellable."""
    return ShipmentCanceled(
        order_id=shipment.order_id,
        shipment_id=shipment.id,
        lines=_stock(without(shipment.lines, unsellable)),
        reason=reason,
        unsellable=_stock(unsellable),
        others_gone=others_gone,
    )


def said_shipped(order: Order, shipment: Shipment) -> ShipmentShipped:
    """The parcel left."""
    return ShipmentShipped(
        order_id=shipment.order_id,
        shipment_id=shipment.id,
        carrier=shipment.carrier,
        tracking_number=shipment.tracking_number,
        customer=_customer(order),
    )


def said_delivered(order: Order, shipment: Shipment) -> ShipmentDelivered:
    """The parcel arrived."""
    return ShipmentDelivered(order_id=shipment.order_id, shipment_id=shipment.id, customer=_customer(order))


def said_returned(shipment: Shipment, unsellable: tuple[Line, ...]) -> ShipmentReturned:
    """The lines are back on the shelf, but for what is unsellable."""
    return ShipmentReturned(
        order_id=shipment.order_id,
        shipment_id=shipment.id,
        lines=_stock(without(shipment.lines, unsellable)),
        unsellable=_stock(unsellable),
    )


def _stock(lines: tuple[Line, ...]) -> tuple[StockLine, ...]:
    return tuple(StockLine(sku=line.sku, quantity=line.quantity) for line in lines)


def _customer(order: Order) -> Customer | None:
    return Customer.model_validate(order.goods.customer) if order.goods else None
