"""What fulfillment hears."""

from fulfillment.handlers import Handlers
from payments_shared.contracts import checkout, inventory, refunds
from payments_shared.messaging import Binding, newest, together


def bindings(handlers: Handlers) -> tuple[Binding, ...]:
    """Message type → handler; facts of all types are folded together."""
    return (
        together(checkout.OrderPaid, handlers.learn),
        newest("hold", together(checkout.OrderHeld, handlers.learn)),
        newest("hold", together(checkout.OrderUnheld, handlers.learn)),
        together(inventory.StockCommitted, handlers.learn),
        together(refunds.RefundApproved, handlers.learn),
        together(refunds.RefundRejected, handlers.learn),
        together(refunds.RefundSucceeded, handlers.learn),
        together(refunds.RefundFailed, handlers.learn),
        together(refunds.RefundCanceled, handlers.learn),
        together(refunds.DisputeOpened, handlers.learn),
        together(refunds.DisputeWon, handlers.learn),
        together(refunds.DisputeLost, handlers.learn),
    )
