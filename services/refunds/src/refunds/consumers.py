"""What refunds hears, and what it tells itself to do."""

from payments_shared.contracts import checkout, inventory
from payments_shared.contracts import refunds as own
from payments_shared.messaging import Binding, calls, on
from refunds.handlers.owing import Owing
from refunds.handlers.submitting import Submitting


def events(owing: Owing) -> tuple[Binding, ...]:
    """Facts → handler."""
    return (
        on(checkout.OrderPaid, owing.order_paid),
        on(checkout.OrderRefundDue, owing.refund_due),
        on(inventory.StockShortfall, owing.shortfall),
    )


def work(submitting: Submitting) -> tuple[Binding, ...]:
    """Commands → handler."""
    return (calls(own.SubmitRefund, submitting.submit), calls(own.CheckRefund, submitting.check))
