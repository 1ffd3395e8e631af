"""What is said of a refund. Pure."""

from collections import Counter
from typing import Any

from payments_shared.contracts import refunds as said
from payments_shared.contracts.checkout import Customer
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import Message
from refunds.model.refunds import Order, Refund, State
from refunds.model.requests import Request


def asked(refund: Refund, order: Order, request: Request) -> Message:
    """Somebody asked for it; no money has moved."""
    return said.RefundRequested(**_about(refund, order, request))


def agreed(refund: Refund, order: Order, request: Request) -> tuple[Message, ...]:
    """It is allowed, and now it is to be done."""
    return (
        said.RefundApproved(**_about(refund, order, request), approver=refund.approver or ""),
        said.SubmitRefund(order_id=refund.order_id, refund_id=refund.id),
    )


def settled(refund: Refund, order: Order, request: Request) -> Message | None:
    """What became of it; None while nothing did."""
    about = _about(refund, order, request)
    match refund.state:
        case State.REJECTED:
            return said.RefundRejected(**about, approver=request.decided_by.subject if request.decided_by else "")
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


def _about(refund: Refund, order: Order, request: Request) -> dict[str, Any]:  # Any: fields of several models
    return {
        "order_id": refund.order_id,
        "refund_id": refund.id,
        "request_id": request.id,
        "payment_intent": refund.payment_intent or "",
        "destination": refund.destination,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "reason": refund.reason,
        "requester": refund.requester,
        # Goods are told once for each request, however many tenders it is paid back to.
        "lines": _goods(request, order) if refund.id == request.id else (),
        "customer": Customer.model_validate(order.customer) if order.customer else None,
    }


def _goods(request: Request, order: Order) -> tuple[StockLine, ...]:
    if order.bill is None:
        return ()
    pieces: Counter[str] = Counter()
    for returned in request.sum.lines:
        for sku, quantity in order.bill.lines[returned.line].goods:
            pieces[sku] += quantity * returned.quantity
    return tuple(StockLine(sku=sku, quantity=quantity) for sku, quantity in sorted(pieces.items()))
