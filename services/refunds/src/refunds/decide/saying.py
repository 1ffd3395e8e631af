"""What is said of refunds and of disputes. Pure."""

from collections import Counter
from typing import Any, Final
from uuid import UUID

from payments_shared.contracts import refunds as said
from payments_shared.contracts.checkout import Customer
from payments_shared.contracts.fulfillment import ShipmentCanceled
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import Message
from refunds.model.disputes import Dispute, DisputeState
from refunds.model.refunds import Order, Refund, State
from refunds.model.requests import Request

INSUFFICIENT_FUNDS: Final = "insufficient_funds"
"""Source: Stripe API, Refund, `pending_reason`: the balance at Stripe does not cover the refund."""


def asked(refund: Refund, order: Order, request: Request) -> Message:
    """Somebody asked for it; no money has moved."""
    return said.RefundRequested(**_about(refund, order, request))


def agreed(refund: Refund, order: Order, request: Request) -> tuple[Message, ...]:
    """It is allowed, and now it is to be done."""
    return (
        said.RefundApproved(**_about(refund, order, request), approver=refund.approver or ""),
        said.SubmitRefund(order_id=refund.order_id, refund_id=refund.id),
    )


def waiting(refund: Refund, order: Order, request: Request) -> Message | None:
    """That somebody must do something before the money can go on; None where Stripe is working on it."""
    if refund.state is not State.REQUIRES_ACTION and refund.pending_reason != INSUFFICIENT_FUNDS:
        return None
    return said.RefundPending(
        **_about(refund, order, request),
        stripe_refund_id=refund.stripe_refund_id or "",
        status="requires_action" if refund.state is State.REQUIRES_ACTION else "pending",
        pending_reason=refund.pending_reason,
        action_expires_at=refund.action_expires_at,
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


def withdrawn(refund: Refund, order: Order, request: Request, person: str) -> Message:
    """A person took it back; `person` is his subject."""
    return said.RefundCanceled(**_about(refund, order, request), withdrawn_by=person)


def left_to_staff(order_id: UUID, canceled: ShipmentCanceled) -> Message:
    """What goes back for a parcel that is not sent is a person's to say, since other goods of the order have gone."""
    return said.RefundLeftToStaff(order_id=order_id, shipment_id=canceled.shipment_id, reason=canceled.reason)


def disputed(dispute: Dispute, announced: str) -> Message:
    """What became of a dispute whose order is known; `announced` as `disputing.due_announcement` says."""
    about = _about_dispute(dispute)
    match announced:
        case "won":
            return said.DisputeWon(**about)
        case "lost":
            return said.DisputeLost(**about)
        case _:
            return said.DisputeOpened(**about)


def due(dispute: Dispute, hours_left: int) -> Message:
    """Its deadline comes near, and nobody has handed in evidence."""
    return said.DisputeDue(**_about_dispute(dispute), hours_left=hours_left)


def _about_dispute(dispute: Dispute) -> dict[str, Any]:  # Any: as below
    inquiry = dispute.state in (DisputeState.INQUIRY, DisputeState.CLOSED)
    return {
        "order_id": dispute.order_id,
        "dispute_id": dispute.id,
        "payment_intent": dispute.payment_intent or "",
        "charge": dispute.charge,
        "amount_minor": dispute.amount_minor,
        "currency": dispute.currency,
        "reason": dispute.reason,
        "kind": "inquiry" if inquiry else "dispute",
        "due_by": dispute.due_by,
        "version": dispute.version,
    }


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
        **(_goods(request, order) if refund.id == request.id else {}),
        "customer": Customer.model_validate(order.customer) if order.customer else None,
    }


def _goods(request: Request, order: Order) -> dict[str, tuple[StockLine, ...]]:
    """What is given back for, and what of it is not sold again; a bundle in its parts."""
    if order.bill is None:
        return {}
    pieces, unsellable = Counter[str](), Counter[str]()
    for returned in request.sum.lines:
        for sku, quantity in order.bill.lines[returned.line].goods:
            pieces[sku] += quantity * returned.quantity
            unsellable[sku] += 0 if returned.restock else quantity * returned.quantity
    return {"lines": _stock(pieces), "unsellable": _stock(+unsellable)}


def _stock(pieces: Counter[str]) -> tuple[StockLine, ...]:
    return tuple(StockLine(sku=sku, quantity=quantity) for sku, quantity in sorted(pieces.items()))
