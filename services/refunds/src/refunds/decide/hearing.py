"""Which facts prove an order, and how each is kept. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from payments_shared.contracts import checkout, fulfillment, notifications
from payments_shared.ids import external_id
from refunds.model.exhibits import Charge, Exhibit, Kind

ORDER: Final = "order"
_GONE: Final = frozenset({Kind.SHIPPED, Kind.DELIVERED, Kind.DIGITAL})
_CHARGE: Final = TypeAdapter(Charge)

Heard = (
    checkout.OrderPlaced
    | fulfillment.ShipmentCreated
    | fulfillment.ShipmentShipped
    | fulfillment.ShipmentDelivered
    | fulfillment.ShipmentCanceled
    | fulfillment.ShipmentReturned
    | fulfillment.DigitalDelivered
    | notifications.NotificationSent
)
"""What the neighbours say, of which nothing but proof is made."""


_Shipment = (
    fulfillment.ShipmentCreated
    | fulfillment.ShipmentShipped
    | fulfillment.ShipmentDelivered
    | fulfillment.ShipmentCanceled
    | fulfillment.ShipmentReturned
)
_SHIPMENTS: Final[Mapping[type[_Shipment], Kind]] = MappingProxyType(
    {
        fulfillment.ShipmentCreated: Kind.PREPARED,
        fulfillment.ShipmentShipped: Kind.SHIPPED,
        fulfillment.ShipmentDelivered: Kind.DELIVERED,
        fulfillment.ShipmentCanceled: Kind.CANCELED,
        fulfillment.ShipmentReturned: Kind.RETURNED,
    }
)


def exhibit_of(message: Heard, at: datetime) -> Exhibit | None:
    """What `message`, which was said at `at`, proves of an order; None when it proves nothing."""
    match message:
        case checkout.OrderPlaced():
            client = message.client.model_dump() if message.client else {}
            return Exhibit(message.order_id, Kind.PLACED, ORDER, at, client)
        case fulfillment.DigitalDelivered():
            skus = [line.sku for line in message.lines]
            return Exhibit(message.order_id, Kind.DIGITAL, ORDER, at, {"skus": skus})
        case notifications.NotificationSent():
            return _of_mail(message, at)
        case _:
            return _of_shipment(message, at)


def exhibit_of_paid(message: checkout.OrderPaid, at: datetime) -> Exhibit:
    """Where the goods of a paid order go. What was paid stands in its bill."""
    address = message.shipping_address.model_dump() if message.shipping_address else None
    option = message.shipping_option.name if message.shipping_option else None
    return Exhibit(message.order_id, Kind.PAID, ORDER, at, {"address": address, "option": option})


def _of_mail(message: notifications.NotificationSent, at: datetime) -> Exhibit | None:
    if message.order_id is None or message.recipient is None:
        return None
    body = {"kind": message.kind, "recipient": message.recipient, "message_id": message.message_id}
    return Exhibit(message.order_id, Kind.MAIL, external_id("msg", message.mail_id), at, body)


def _of_shipment(message: _Shipment, at: datetime) -> Exhibit:
    way: dict[str, str | bool | None] = {}
    if isinstance(message, fulfillment.ShipmentShipped):
        way = {"carrier": message.carrier, "tracking_number": message.tracking_number}
    if isinstance(message, fulfillment.ShipmentCanceled):
        way = {"reason": message.reason, "others_gone": message.others_gone}
    return Exhibit(message.order_id, _SHIPMENTS[type(message)], external_id("shp", message.shipment_id), at, way)


def exhibit_of_charge(order_id: UUID, charge: Charge) -> Exhibit:
    """How Stripe took a payment of the order: it is asked once, and says so as long as it is kept."""
    return Exhibit(order_id, Kind.CHARGE, charge.id, charge.at, _CHARGE.dump_python(charge, mode="json"))


def charges_of(exhibits: list[Exhibit]) -> list[Charge]:
    """The charges among exhibits, the oldest first; members that a newer release added are passed over."""
    found = [_CHARGE.validate_python(dict(one.body)) for one in exhibits if one.kind is Kind.CHARGE]
    return sorted(found, key=lambda charge: (charge.at, charge.id))


def shows_gone(exhibit: Exhibit) -> bool:
    """Whether it shows that goods of its order have left the house, or were delivered where nothing is sent. Whoever
    canceled the rest knew of that, whether or not it was heard of here."""
    return exhibit.kind in _GONE or (exhibit.kind is Kind.CANCELED and exhibit.body.get("others_gone") is True)


def has_gone(exhibits: Sequence[Exhibit]) -> bool:
    """Whether anything of the order has gone, as far as exhibits show."""
    return any(shows_gone(one) for one in exhibits)


def is_kept_back(exhibits: Sequence[Exhibit]) -> bool:
    """Whether nothing of the order was sent or delivered, and a lost dispute is why."""
    canceled = (one for one in exhibits if one.kind is Kind.CANCELED)
    return not has_gone(exhibits) and any(one.body.get("reason") == fulfillment.DISPUTE_LOST for one in canceled)


def is_whole(charges: list[Charge], payment_intents: set[str]) -> bool:
    """Whether Stripe was asked about each payment."""
    return {charge.payment_intent for charge in charges} >= payment_intents
