"""What refunds hears, and what it tells itself to do."""

from payments_shared.contracts import checkout, fulfillment, inventory, notifications
from payments_shared.contracts import refunds as own
from payments_shared.contracts.stripe import (
    CHANGED_WARNING_TYPES,
    CHARGED_TYPES,
    DISPUTE_TYPES,
    REFUND_TYPES,
    REFUNDED_TYPES,
    WARNING_TYPES,
)
from payments_shared.messaging import Binding, calls, on, on_stripe, together
from refunds.handlers import crediting
from refunds.handlers.contesting import Contesting
from refunds.handlers.disputing import Disputing
from refunds.handlers.exhibiting import Exhibiting
from refunds.handlers.following import Following
from refunds.handlers.noting import Noting
from refunds.handlers.owing import Owing
from refunds.handlers.submitting import Submitting
from refunds.handlers.warning import hear_warning


def events(
    *,
    owing: Owing,
    following: Following,
    disputing: Disputing,
    exhibiting: Exhibiting,
    noting: Noting,
) -> tuple[Binding, ...]:
    """Facts → handler."""
    return (
        on(checkout.OrderPaid, owing.order_paid),
        on(checkout.OrderRefundDue, owing.refund_due),
        on(inventory.StockShortfall, owing.shortfall),
        on(fulfillment.ShipmentCanceled, owing.shipment_canceled),
        on(checkout.StoreCreditBooked, crediting.booked),
        on(checkout.StoreCreditReleased, crediting.released),
        on(checkout.StoreCreditRefused, crediting.refused),
        *(on_stripe(name, following.hear_refund) for name in REFUND_TYPES),
        *(on_stripe(name, following.hear_charge) for name in REFUNDED_TYPES),
        *(on_stripe(name, disputing.hear) for name in DISPUTE_TYPES),
        *(on_stripe(name, hear_warning) for name in WARNING_TYPES + CHANGED_WARNING_TYPES),
        together(checkout.OrderPlaced, exhibiting.keep),
        together(fulfillment.ShipmentCreated, exhibiting.keep),
        together(fulfillment.ShipmentShipped, exhibiting.keep),
        together(fulfillment.ShipmentDelivered, exhibiting.keep),
        together(fulfillment.ShipmentReturned, exhibiting.keep),
        together(fulfillment.DigitalDelivered, exhibiting.keep),
        together(notifications.NotificationSent, exhibiting.keep),
        *(on_stripe(name, noting.charged) for name in CHARGED_TYPES),
    )


def work(
    submitting: Submitting, following: Following, disputing: Disputing, contesting: Contesting
) -> tuple[Binding, ...]:
    """Commands → handler."""
    return (
        calls(own.SubmitRefund, submitting.submit),
        calls(own.CheckRefund, submitting.check),
        calls(own.FindRefunds, following.find),
        calls(own.FetchDispute, disputing.fetch),
        calls(own.FindDisputes, disputing.find),
        calls(own.SubmitEvidence, contesting.submit),
    )
