"""What fulfillment hears."""

from fulfillment.handlers import Handlers
from payments_shared.contracts import checkout, inventory, refunds
from payments_shared.messaging import Binding, on


def bindings(handlers: Handlers) -> tuple[Binding, ...]:
    """Message type → handler."""
    return (
        on(checkout.OrderPaid, handlers.order_paid),
        on(checkout.OrderHeld, handlers.order_held),
        on(checkout.OrderUnheld, handlers.order_unheld),
        on(inventory.StockCommitted, handlers.stock_committed),
        on(refunds.RefundApproved, handlers.refund),
        on(refunds.RefundRejected, handlers.refund),
        on(refunds.RefundSucceeded, handlers.refund),
        on(refunds.RefundFailed, handlers.refund),
        on(refunds.RefundCanceled, handlers.refund),
    )
