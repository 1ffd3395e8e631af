"""What notifications hears, and what it tells itself to do."""

from notifications.handlers import Handlers
from payments_shared.contracts import checkout, fulfillment, inventory, refunds
from payments_shared.contracts import notifications as own
from payments_shared.messaging import Binding, calls, on


def events(handlers: Handlers) -> tuple[Binding, ...]:
    """Facts → handler."""
    return (
        on(checkout.OrderPlaced, handlers.order_placed),
        on(checkout.OrderPaid, handlers.order_paid),
        on(checkout.OrderPaymentFailed, handlers.payment_failed),
        on(checkout.OrderPaymentRetrying, handlers.payment_retrying),
        on(checkout.OrderExpired, handlers.order_expired),
        on(checkout.OrderHeld, handlers.order_held),
        on(checkout.OrderCreditReturned, handlers.credit_returned),
        on(checkout.OrderSoldOut, handlers.order_sold_out),
        on(refunds.RefundPending, handlers.refund_pending),
        on(refunds.RefundSucceeded, handlers.refund_succeeded),
        on(refunds.RefundFailed, handlers.refund_failed),
        on(refunds.RefundCanceled, handlers.refund_canceled),
        on(refunds.RefundLeftToStaff, handlers.refund_left_to_staff),
        on(refunds.DisputeOpened, handlers.dispute),
        on(refunds.DisputeDue, handlers.dispute),
        on(refunds.DisputeWon, handlers.dispute),
        on(refunds.DisputeLost, handlers.dispute),
        on(fulfillment.ShipmentShipped, handlers.shipment),
        on(fulfillment.ShipmentDelivered, handlers.shipment),
        on(inventory.StockLow, handlers.stock_low),
        on(checkout.PaymentMethodExpiring, handlers.card_expiring),
    )


def work(handlers: Handlers) -> tuple[Binding, ...]:
    """Commands → handler."""
    return (calls(own.DeliverMail, handlers.deliver),)
