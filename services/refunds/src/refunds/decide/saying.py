"""What is said of a refund. Pure."""

from collections.abc import Mapping
from typing import Any

from payments_shared.contracts import refunds as said
from payments_shared.contracts.checkout import Customer
from payments_shared.contracts.message import Message
from refunds.model.refunds import Refund, State


def began(refund: Refund, customer: Mapping[str, str | None] | None, approver: str) -> tuple[Message, ...]:
    """A refund that needs no second person: it was asked for, it is allowed, and now Stripe is to be asked."""
    about = _about(refund, customer)
    return (
        said.RefundRequested(**about),
        said.RefundApproved(**about, approver=approver),
        said.SubmitRefund(order_id=refund.order_id, refund_id=refund.id),
    )


def settled(refund: Refund, customer: Mapping[str, str | None] | None) -> Message | None:
    """What became of it; None while nothing did."""
    about = _about(refund, customer)
    match refund.state:
        case State.SUCCEEDED:
            return said.RefundSucceeded(**about, stripe_refund_id=refund.stripe_refund_id or "")
        case State.FAILED:
            return said.RefundFailed(
                **about, stripe_refund_id=refund.stripe_refund_id, failure_reason=refund.failure_reason
            )
        case State.CANCELED:
            return said.RefundCanceled(**about)
        case _:
            return None


def _about(
    refund: Refund, customer: Mapping[str, str | None] | None
) -> dict[str, Any]:  # Any: fields of several models
    return {
        "order_id": refund.order_id,
        "refund_id": refund.id,
        "payment_intent": refund.payment_intent,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "reason": refund.reason,
        "requester": refund.requester,
        "customer": Customer.model_validate(customer) if customer else None,
    }
