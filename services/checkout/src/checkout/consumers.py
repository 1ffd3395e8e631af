"""What checkout hears, and what it tells itself to do."""

from checkout.handlers.advancing import Advancing
from checkout.handlers.asking import Asking
from checkout.handlers.attributing import Attributing
from checkout.handlers.charging import Charging
from checkout.handlers.facts import Facts
from checkout.handlers.methods import Methods
from checkout.handlers.saving import Saving
from payments_shared.contracts import checkout, fulfillment, inventory, refunds
from payments_shared.contracts.stripe import (
    CHARGE_TYPES,
    CHECKOUT_SESSION_TYPES,
    PAYMENT_INTENT_TYPES,
    REVIEW_TYPES,
    WARNING_TYPES,
)
from payments_shared.messaging import Binding, calls, on, on_stripe, together, together_stripe


def events(facts: Facts, methods: Methods) -> tuple[Binding, ...]:
    """Facts → handler; those of all types are folded together."""
    return (
        *(together_stripe(name, facts.hear) for name in CHECKOUT_SESSION_TYPES),
        *(together_stripe(name, facts.hear) for name in PAYMENT_INTENT_TYPES),
        *(together_stripe(name, facts.hear) for name in CHARGE_TYPES + REVIEW_TYPES + WARNING_TYPES),
        on_stripe("setup_intent.succeeded", methods.hear_setup),
        on_stripe("setup_intent.setup_failed", methods.hear_setup_failed),
        on_stripe("payment_method.attached", methods.hear_attached),
        on_stripe("payment_method.updated", methods.hear_method),
        on_stripe("payment_method.automatically_updated", methods.hear_method),
        on_stripe("payment_method.detached", methods.hear_detached),
        on_stripe("customer.deleted", methods.hear_customer_deleted),
        together(fulfillment.ShipmentCreated, facts.hear),
        together(fulfillment.ShipmentShipped, facts.hear),
        together(fulfillment.ShipmentDelivered, facts.hear),
        together(fulfillment.ShipmentCanceled, facts.hear),
        together(fulfillment.ShipmentReturned, facts.hear),
        together(fulfillment.DigitalDelivered, facts.hear),
        together(refunds.RefundRequested, facts.hear),
        together(refunds.RefundApproved, facts.hear),
        together(refunds.RefundRejected, facts.hear),
        together(refunds.RefundSucceeded, facts.hear),
        together(refunds.RefundFailed, facts.hear),
        together(refunds.RefundCanceled, facts.hear),
        together(refunds.DisputeOpened, facts.hear),
        together(refunds.DisputeWon, facts.hear),
        together(refunds.DisputeLost, facts.hear),
        on(refunds.StoreCreditIssued, facts.issue_credit),
        together(inventory.StockCommitted, facts.hear),
        together(inventory.StockReleased, facts.hear),
        together(inventory.StockShortfall, facts.hear),
    )


def work(
    asking: Asking, attributing: Attributing, advancing: Advancing, saving: Saving, charging: Charging
) -> tuple[Binding, ...]:
    """Commands → handler."""
    return (
        calls(checkout.FetchSession, asking.fetch_session),
        calls(checkout.FetchPaymentIntent, asking.fetch_intent),
        calls(checkout.ExpireSession, asking.expire_session),
        calls(checkout.CancelPaymentIntent, charging.cancel_intent),
        calls(checkout.AbandonOrder, asking.abandon),
        calls(checkout.ResumeOrder, advancing.resume),
        calls(checkout.CancelSetupIntent, saving.cancel_intent),
        calls(checkout.FetchPaymentMethod, saving.fetch_method),
        calls(checkout.FindOrder, attributing.find_order),
    )
