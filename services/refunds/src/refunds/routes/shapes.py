"""What staff are answered, as JSON."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, cast
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from payments_shared.ids import external_id
from refunds.decide.asking import status_of
from refunds.decide.scoring import Signal
from refunds.handlers.requesting import View
from refunds.model.bills import STORE_CREDIT
from refunds.model.disputes import DisputeState
from refunds.model.patterns import Reason
from refunds.model.refunds import Refund, State, Step
from refunds.model.requests import Request

OrderId = Annotated[str, Field(pattern=r"^ord_[0-9a-f]{32}$")]
RefundId = Annotated[str, Field(pattern=r"^ref_[0-9a-f]{32}$")]
CurrencyCode = Annotated[str, Field(pattern=r"^[a-z]{3}$", description="ISO 4217 in lower case.")]
Minor = Annotated[int, Field(ge=0, description="Minor units of the currency beside it.")]
Time = Annotated[str, Field(pattern=r"Z$", json_schema_extra={"format": "date-time"})]
Status = Annotated[str, Field(json_schema_extra={"enum": [state.value for state in State]})]
DISPUTE_ID_PATTERN = r"^d[pu]_[A-Za-z0-9]{1,64}$"
DisputeId = Annotated[str, Field(pattern=DISPUTE_ID_PATTERN, description="As Stripe names it.")]
DisputeStatus = Annotated[str, Field(json_schema_extra={"enum": [state.value for state in DisputeState]})]


class ReturnedLine(TypedDict):
    """Pieces of a line of the order, by its index from 0, with what goes back for them."""

    line: Annotated[int, Field(ge=0)]
    quantity: Annotated[int, Field(ge=1)]
    restock: bool
    goods_minor: Minor
    tax_minor: Minor


class Part(TypedDict):
    """What goes back to one tender: a payment by its intent, or `store_credit`. Money that goes to store credit is
    booked there and never asked of Stripe. `pending_reason` says why it waits: `disputed` until a dispute is decided,
    `stopped` until refunds are stopped no more, or in Stripe's words `processing`, `insufficient_funds` or
    `charge_pending`. A part that requires action waits until `action_expires_at` for its buyer, whom Stripe
    asked by e-mail where his money goes."""

    id: RefundId
    tender: str
    destination: Literal["original", "store_credit"]
    amount_minor: Minor
    status: Status
    stripe_refund_id: str | None
    failure_reason: str | None
    pending_reason: str | None
    action_expires_at: Time | None


class Happened(TypedDict):
    """A step of one part: what was before and after it, what caused it, when, and who did it, a person by the subject
    of his token, or a policy; null: Stripe or a sweep."""

    part: RefundId
    before: Status | None
    after: Status
    cause: str
    actor: str | None
    at: Time


class ScoreReason(TypedDict):
    """One signal: its points, not above 0 where it explains the request, and the numbers that it is made of."""

    signal: Annotated[str, Field(json_schema_extra={"enum": [signal.value for signal in Signal]})]
    points: int
    detail: dict[str, int]


class RefundShown(TypedDict):
    """A refund as it stands. Goods, tax and shipping sum to the amount, except of surplus money, of which they are 0;
    `fee_minor` was kept. `needs` says why a second person must agree: `per_refund`, `per_operator_day`,
    `per_customer_month`, `final_sale` where an amount pays for what is never taken back, `own_order` where its buyer
    asks himself, or `score`: how suspicious it was when it was made, from 0 to 100, for `score_reasons`. An approval
    names `version` and amount. `pending_reason` is that of a part."""

    refund_id: RefundId
    order_id: OrderId
    status: Status
    currency: CurrencyCode
    amount_minor: Minor
    goods_minor: Minor
    tax_minor: Minor
    shipping_minor: Minor
    fee_minor: Minor
    lines: list[ReturnedLine]
    destination: Literal["original", "store_credit"]
    reason: str
    note: str
    origin: Annotated[str, Field(json_schema_extra={"enum": ["person", "system", "stripe"]})]
    requester: str
    needs: list[str]
    score: int
    score_reasons: list[ScoreReason]
    decided_by: str | None
    decision_note: str
    version: Annotated[int, Field(ge=1)]
    created_at: Time | None
    pending_reason: str | None
    parts: list[Part]


class RefundAnswer(RefundShown):
    """With what can still be refunded of its order, after it, and what of that order disputes withhold."""

    refundable_minor: Minor
    disputed_minor: Minor


class RefundStory(RefundAnswer):
    """With everything that happened to its parts, in order."""

    history: list[Happened]


class Refunds(TypedDict):
    """A page, the newest first; `next_cursor` is null on the last."""

    refunds: list[RefundShown]
    next_cursor: RefundId | None


class DisputeShown(TypedDict):
    """A dispute as Stripe answered last. `order_id` is null until its payment is known. An `inquiry` only asks and ends
    `closed`; `open` waits for evidence until `due_by`, and `under_review` for the bank. `open`, `under_review` and
    `lost` withhold the amount. `charge_refundable` is Stripe's word for whether it refunds the charge. `version` counts
    its states."""

    dispute_id: DisputeId
    order_id: OrderId | None
    payment_intent: str | None
    charge: str
    status: DisputeStatus
    stripe_status: str
    amount_minor: Minor
    currency: CurrencyCode
    reason: str
    network_reason_code: str | None
    due_by: Time | None
    has_evidence: bool
    submission_count: Annotated[int, Field(ge=0)]
    past_due: bool
    charge_refundable: bool
    version: Annotated[int, Field(ge=1)]
    opened_at: Time
    closed_at: Time | None


class DisputeHappened(TypedDict):
    """A step of a dispute, and what caused it."""

    before: DisputeStatus | None
    after: DisputeStatus
    cause: str
    at: Time


class Warned(TypedDict):
    """A card network believes that the payment was fraud. `actionable`: it was neither refunded nor disputed."""

    warning_id: str
    charge: str
    fraud_type: str
    actionable: bool
    heard_at: Time | None


class DisputeStory(DisputeShown):
    """With everything that happened to it, in order, the warnings of its payment, and the newest refunds of its
    order."""

    history: list[DisputeHappened]
    warnings: list[Warned]
    refunds: list[RefundShown]


class Disputes(TypedDict):
    """A page, the newest first; `next_cursor` is null on the last."""

    disputes: list[DisputeShown]
    next_cursor: DisputeId | None


def shown(request: Request, refunds: Sequence[Refund], blocked: Mapping[UUID, str]) -> RefundShown:
    """A request with its parts, of which those in `blocked` wait for what it says."""
    shares = request.sum.shares
    parts = [_part(refund, blocked) for refund in refunds]
    return {
        "refund_id": external_id("ref", request.id),
        "order_id": external_id("ord", request.order_id),
        "status": status_of(refunds).value,
        "currency": request.currency,
        "amount_minor": request.amount_minor,
        "goods_minor": shares.goods_minor,
        "tax_minor": shares.tax_minor,
        "shipping_minor": shares.shipping_minor,
        "fee_minor": request.sum.fee_minor,
        "lines": [
            {
                "line": line.line,
                "quantity": line.quantity,
                "restock": line.restock,
                "goods_minor": line.goods_minor,
                "tax_minor": line.tax_minor,
            }
            for line in request.sum.lines
        ],
        "destination": request.destination.value,
        "reason": request.reason,
        "note": request.note,
        "origin": request.origin.value,
        "requester": request.requester.subject,
        "needs": list(request.needs),
        "score": request.score,
        "score_reasons": [reason_shown(reason) for reason in request.score_reasons],
        "decided_by": request.decided_by.subject if request.decided_by else None,
        "decision_note": request.decision_note,
        "version": request.version,
        "created_at": moment(request.created_at) if request.created_at else None,
        "pending_reason": next((part["pending_reason"] for part in parts if part["pending_reason"]), None),
        "parts": parts,
    }


def reason_shown(reason: Reason) -> ScoreReason:
    """One signal of a score."""
    return {"signal": reason.signal, "points": reason.points, "detail": dict(reason.detail)}


def answered(view: View) -> Mapping[str, object]:
    """A request with what is left of its order."""
    return {
        **shown(view.request, view.refunds, view.blocked),
        "refundable_minor": view.refundable_minor,
        "disputed_minor": view.disputed_minor,
    }


def happened(step: Step) -> Happened:
    """A step of a part."""
    return {
        "part": external_id("ref", step.refund_id),
        "before": step.before.value if step.before else None,
        "after": step.after.value,
        "cause": step.cause,
        "actor": step.actor,
        "at": moment(step.at),
    }


def moment(at: datetime) -> str:
    """RFC 3339, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _part(refund: Refund, blocked: Mapping[UUID, str]) -> Part:
    return {
        "id": external_id("ref", refund.id),
        "tender": refund.payment_intent or STORE_CREDIT,
        "destination": cast("Literal['original', 'store_credit']", refund.destination),
        "amount_minor": refund.amount_minor,
        "status": refund.state.value,
        "stripe_refund_id": refund.stripe_refund_id,
        "failure_reason": refund.failure_reason,
        "pending_reason": _pending_reason(refund, blocked),
        "action_expires_at": moment(refund.action_expires_at) if refund.action_expires_at else None,
    }


def _pending_reason(refund: Refund, blocked: Mapping[UUID, str]) -> str | None:
    return blocked.get(refund.id, refund.pending_reason)
