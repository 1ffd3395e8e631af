"""What refunds hears, and what it tells itself to do."""

from payments_shared.contracts import checkout, inventory
from payments_shared.contracts import refunds as own
from payments_shared.contracts.stripe import REFUND_TYPES, REFUNDED_TYPES
from payments_shared.messaging import Binding, calls, on, on_stripe
from refunds.handlers.following import Following
from refunds.handlers.owing import Owing
from refunds.handlers.submitting import Submitting


def events(owing: Owing, following: Following, submitting: Submitting) -> tuple[Binding, ...]:
    """Facts → handler."""
    return (
        on(checkout.OrderPaid, owing.order_paid),
        on(checkout.OrderRefundDue, owing.refund_due),
        on(inventory.StockShortfall, owing.shortfall),
        on(checkout.StoreCreditBooked, submitting.credit_booked),
        *(on_stripe(name, following.hear_refund) for name in REFUND_TYPES),
        *(on_stripe(name, following.hear_charge) for name in REFUNDED_TYPES),
    )


def work(submitting: Submitting, following: Following) -> tuple[Binding, ...]:
    """Commands → handler."""
    return (
        calls(own.SubmitRefund, submitting.submit),
        calls(own.CheckRefund, submitting.check),
        calls(own.FindRefunds, following.find),
    )
