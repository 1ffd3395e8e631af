"""What checkout hears, and what it tells itself to do."""

from checkout.handlers.asking import Asking
from checkout.handlers.facts import Facts
from checkout.handlers.placing import Placing
from payments_shared.contracts import checkout, fulfillment, inventory, refunds
from payments_shared.contracts.stripe import CHECKOUT_SESSION_TYPES, PAYMENT_INTENT_TYPES
from payments_shared.messaging import Binding, calls, on, on_stripe


def events(facts: Facts) -> tuple[Binding, ...]:
    """Facts → handler."""
    return (
        *(on_stripe(name, facts.session_event) for name in CHECKOUT_SESSION_TYPES),
        *(on_stripe(name, facts.intent_event) for name in PAYMENT_INTENT_TYPES),
        on(fulfillment.ShipmentCreated, facts.shipment),
        on(fulfillment.ShipmentShipped, facts.shipment),
        on(fulfillment.ShipmentDelivered, facts.shipment),
        on(fulfillment.ShipmentCanceled, facts.shipment),
        on(fulfillment.ShipmentReturned, facts.shipment),
        on(refunds.RefundRequested, facts.refund),
        on(refunds.RefundApproved, facts.refund),
        on(refunds.RefundRejected, facts.refund),
        on(refunds.RefundSucceeded, facts.refund),
        on(refunds.RefundFailed, facts.refund),
        on(refunds.RefundCanceled, facts.refund),
        on(inventory.StockCommitted, facts.stock),
        on(inventory.StockReleased, facts.stock),
        on(inventory.StockShortfall, facts.stock),
    )


def work(asking: Asking, placing: Placing) -> tuple[Binding, ...]:
    """Commands → handler."""
    return (
        calls(checkout.FetchSession, asking.fetch_session),
        calls(checkout.FetchPaymentIntent, asking.fetch_intent),
        calls(checkout.ExpireSession, asking.expire_session),
        calls(checkout.AbandonOrder, asking.abandon),
        calls(checkout.ResumeOrder, placing.resume),
    )
