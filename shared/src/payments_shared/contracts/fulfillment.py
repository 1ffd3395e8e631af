"""What fulfillment says: the way of the goods."""

from typing import ClassVar, Final

from payments_shared.contracts.checkout import Customer
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import AboutOrder, Message, ShipmentId

OWNER: Final = "fulfillment"


class ShipmentCreated(AboutOrder):
    """Paid and in stock: the parcel is being made ready."""

    TYPE: ClassVar[str] = "shipment.created.v1"

    shipment_id: ShipmentId
    lines: tuple[StockLine, ...]
    customer: Customer | None = None


class ShipmentShipped(AboutOrder):
    """The parcel left the house."""

    TYPE: ClassVar[str] = "shipment.shipped.v1"

    shipment_id: ShipmentId
    carrier: str | None = None
    tracking_number: str | None = None
    customer: Customer | None = None


class ShipmentDelivered(AboutOrder):
    """The parcel arrived."""

    TYPE: ClassVar[str] = "shipment.delivered.v1"

    shipment_id: ShipmentId
    customer: Customer | None = None


class ShipmentCanceled(AboutOrder):
    """The parcel never left; `lines` are back on the shelf."""

    TYPE: ClassVar[str] = "shipment.canceled.v1"

    shipment_id: ShipmentId
    lines: tuple[StockLine, ...]
    reason: str


class ShipmentReturned(AboutOrder):
    """The parcel came back; `lines` are back on the shelf."""

    TYPE: ClassVar[str] = "shipment.returned.v1"

    shipment_id: ShipmentId
    lines: tuple[StockLine, ...]


EVENTS: Final = (ShipmentCreated, ShipmentShipped, ShipmentDelivered, ShipmentCanceled, ShipmentReturned)
COMMANDS: Final[tuple[type[Message], ...]] = ()
