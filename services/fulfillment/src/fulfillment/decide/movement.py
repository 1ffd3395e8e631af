"""The way of a parcel, as people and carriers report it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from fulfillment.decide.decision import Decision, said_delivered, said_returned, said_shipped
from fulfillment.decide.lines import unsellable_in
from fulfillment.decide.parcel import blocked
from fulfillment.model import IllegalStep, Order, Shipment, ShipmentHeld, ShipmentState


@dataclass(frozen=True, slots=True)
class Ship:
    """It left the house."""

    carrier: str
    tracking_number: str | None


@dataclass(frozen=True, slots=True)
class Deliver:
    """It arrived."""


@dataclass(frozen=True, slots=True)
class Return:
    """It came back, whether it had arrived or not."""


Movement = Ship | Deliver | Return

ARROWS: Final[Mapping[ShipmentState, Mapping[type[Movement], ShipmentState]]] = MappingProxyType(
    {
        ShipmentState.CREATED: MappingProxyType({Ship: ShipmentState.SHIPPED}),
        ShipmentState.SHIPPED: MappingProxyType(
            {
                Ship: ShipmentState.SHIPPED,  # a clerk presses the button twice
                Deliver: ShipmentState.DELIVERED,
                Return: ShipmentState.RETURNED,
            }
        ),
        ShipmentState.DELIVERED: MappingProxyType({Deliver: ShipmentState.DELIVERED, Return: ShipmentState.RETURNED}),
        ShipmentState.RETURNED: MappingProxyType({Return: ShipmentState.RETURNED}),
        ShipmentState.CANCELED: MappingProxyType({}),
    }
)
"""What people and carriers report. Only `settle` makes a parcel, and only it cancels one."""

_PARTICIPLES: Final[Mapping[type[Movement], str]] = MappingProxyType(
    {Ship: "shipped", Deliver: "delivered", Return: "returned"}
)


def move(order: Order, shipment: Shipment, movement: Movement, *, shipments: Sequence[Shipment] = ()) -> Decision:
    """Advance a parcel by what was reported, beside all `shipments` of its order. A repeat changes nothing.

    Raises:
        IllegalStep: `ARROWS` has no arrow for this pair, or it was shipped with another carrier or number.
        ShipmentHeld: it may not leave now.
    """
    after = ARROWS[shipment.state].get(type(movement))
    if after is None:
        raise IllegalStep(shipment.state, _PARTICIPLES[type(movement)])
    if after is shipment.state:
        _check_same_way(shipment, movement)
        return Decision()
    moved = replace(shipment, state=after, version=shipment.version + 1)
    match movement:
        case Ship():
            if blocked(order):
                raise ShipmentHeld
            moved = replace(moved, carrier=movement.carrier, tracking_number=movement.tracking_number)
            return Decision((moved,), (said_shipped(order, moved),))
        case Deliver():
            return Decision((moved,), (said_delivered(order, moved),))
        case Return():
            unsellable = unsellable_in(order, moved.lines, shipments)
            return Decision((moved,), (said_returned(moved, unsellable),))


def _check_same_way(shipment: Shipment, movement: Movement) -> None:
    known = (shipment.carrier, shipment.tracking_number)
    if isinstance(movement, Ship) and known != (movement.carrier, movement.tracking_number):
        raise IllegalStep(shipment.state, "shipped another way")
