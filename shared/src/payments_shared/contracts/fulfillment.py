"""What fulfillment says: the way of the goods."""

from typing import ClassVar, Final

from payments_shared.contracts.checkout import Customer
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import AboutOrder, Message, ShipmentId

OWNER: Final = "fulfillment"
DISPUTE_LOST: Final = "dispute_lost"
"""The reason of a shipment that is canceled since the buyer's bank took the money: nothing of the order is sent."""


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
    """The parcel never left; `lines` are back on the shelf. What of it is `unsellable` is not among them.

    `others_gone`: other goods of the order had been sent, or delivered where nothing is sent; None where nobody said.
    """

    TYPE: ClassVar[str] = "shipment.canceled.v1"

    shipment_id: ShipmentId
    lines: tuple[StockLine, ...]
    reason: str
    unsellable: tuple[StockLine, ...] = ()
    others_gone: bool | None = None


class ShipmentReturned(AboutOrder):
    """The parcel came back; `lines` are back on the shelf. What of it is `unsellable` is not among them."""

    TYPE: ClassVar[str] = "shipment.returned.v1"

    shipment_id: ShipmentId
    lines: tuple[StockLine, ...]
    unsellable: tuple[StockLine, ...] = ()


class DigitalDelivered(AboutOrder):
    """Paid, in stock, and nothing holds the order: `lines`, which are not sent, are the buyer's from now on. Whoever
    gives access to them gives it when this is said, which is once per order; a bundle is named in its parts.

    Money that goes back afterwards is told by `refund.succeeded`, and closes nothing by itself.
    """

    TYPE: ClassVar[str] = "digital.delivered.v1"

    lines: tuple[StockLine, ...]
    customer: Customer | None = None


EVENTS: Final = (
    ShipmentCreated,
    ShipmentShipped,
    ShipmentDelivered,
    ShipmentCanceled,
    ShipmentReturned,
    DigitalDelivered,
)
COMMANDS: Final[tuple[type[Message], ...]] = ()
