"""What inventory hears."""

from inventory.handlers import Handlers
from payments_shared.contracts import checkout, fulfillment
from payments_shared.messaging import Binding, on


def bindings(handlers: Handlers) -> tuple[Binding, ...]:
    """Message type → handler."""
    return (
        on(checkout.OrderPaid, handlers.order_paid),
        on(checkout.OrderProcessing, handlers.order_processing),
        on(checkout.OrderPaymentFailed, handlers.payment_failed),
        on(checkout.OrderExpired, handlers.order_expired),
        on(checkout.OrderCanceled, handlers.order_canceled),
        on(fulfillment.ShipmentCanceled, handlers.shipment_back),
        on(fulfillment.ShipmentReturned, handlers.shipment_back),
    )
