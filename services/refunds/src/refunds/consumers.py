"""What refunds hears, and what it tells itself to do."""

from payments_shared.contracts import checkout, inventory
from payments_shared.contracts import refunds as own
from payments_shared.messaging import Binding, calls, on
from refunds.handlers import Handlers


def events(handlers: Handlers) -> tuple[Binding, ...]:
    """Facts → handler."""
    return (
        on(checkout.OrderPaid, handlers.order_paid),
        on(checkout.OrderRefundDue, handlers.refund_due),
        on(inventory.StockShortfall, handlers.shortfall),
    )


def work(handlers: Handlers) -> tuple[Binding, ...]:
    """Commands → handler."""
    return (calls(own.SubmitRefund, handlers.submit), calls(own.CheckRefund, handlers.check))
