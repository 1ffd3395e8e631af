"""What inventory hears."""

from inventory.handlers import Handlers
from payments_shared.contracts import checkout, fulfillment
from payments_shared.messaging import Binding, together


def bindings(handlers: Handlers) -> tuple[Binding, ...]:
    """Message type → handler; words of all types are applied together."""
    return (
        together(checkout.OrderPaid, handlers.hear),
        together(checkout.OrderProcessing, handlers.hear),
        together(checkout.OrderPaymentFailed, handlers.hear),
        together(checkout.OrderPaymentRetrying, handlers.hear),
        together(checkout.OrderExpired, handlers.hear),
        together(checkout.OrderCanceled, handlers.hear),
        together(fulfillment.ShipmentCanceled, handlers.hear),
        together(fulfillment.ShipmentReturned, handlers.hear),
    )
