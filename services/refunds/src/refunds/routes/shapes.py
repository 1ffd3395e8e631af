"""What staff are answered, as JSON."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

from pydantic import Field
from typing_extensions import TypedDict

from payments_shared.ids import external_id
from refunds.decide.asking import status_of
from refunds.model.bills import STORE_CREDIT
from refunds.model.refunds import Refund, State, Step
from refunds.model.requests import Request

OrderId = Annotated[str, Field(pattern=r"^ord_[0-9a-f]{32}$")]
RefundId = Annotated[str, Field(pattern=r"^ref_[0-9a-f]{32}$")]
CurrencyCode = Annotated[str, Field(pattern=r"^[a-z]{3}$", description="ISO 4217 in lower case.")]
Minor = Annotated[int, Field(ge=0, description="Minor units of the currency beside it.")]
Time = Annotated[str, Field(pattern=r"Z$", json_schema_extra={"format": "date-time"})]
Status = Annotated[str, Field(json_schema_extra={"enum": [state.value for state in State]})]


class ReturnedLine(TypedDict):
    """Pieces of a line of the order, by its index from 0, with what goes back for them."""

    line: Annotated[int, Field(ge=0)]
    quantity: Annotated[int, Field(ge=1)]
    restock: bool
    goods_minor: Minor
    tax_minor: Minor


class Part(TypedDict):
    """What goes back to one tender: a payment by its intent, or `store_credit`. Money that goes to store credit is
    booked there and never asked of Stripe."""

    id: RefundId
    tender: str
    destination: Literal["original", "store_credit"]
    amount_minor: Minor
    status: Status
    stripe_refund_id: str | None
    failure_reason: str | None


class Happened(TypedDict):
    """A step of one part, and what caused it."""

    part: RefundId
    before: Status | None
    after: Status
    cause: str
    at: Time


class RefundShown(TypedDict):
    """A refund as it stands. Goods, tax and shipping sum to the amount, except of surplus money, of which they are 0;
    `fee_minor` was kept. `needs` says why a second person must agree: `per_refund`, `per_operator_day`,
    `per_customer_month` or `score`. An approval names `version` and amount."""

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
    decided_by: str | None
    decision_note: str
    version: Annotated[int, Field(ge=1)]
    created_at: Time | None
    parts: list[Part]


class RefundAnswer(RefundShown):
    """With what can still be refunded of its order, after it."""

    refundable_minor: Minor


class RefundStory(RefundAnswer):
    """With everything that happened to its parts, in order."""

    history: list[Happened]


class Refunds(TypedDict):
    """A page, the newest first; `next_cursor` is null on the last."""

    refunds: list[RefundShown]
    next_cursor: RefundId | None


def shown(request: Request, refunds: Sequence[Refund]) -> RefundShown:
    """A request with its parts."""
    shares = request.sum.shares
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
        "decided_by": request.decided_by.subject if request.decided_by else None,
        "decision_note": request.decision_note,
        "version": request.version,
        "created_at": moment(request.created_at) if request.created_at else None,
        "parts": [_part(refund) for refund in refunds],
    }


def answered(request: Request, refunds: Sequence[Refund], refundable_minor: int) -> Mapping[str, object]:
    """A request with what is left of its order."""
    return {**shown(request, refunds), "refundable_minor": refundable_minor}


def happened(step: Step) -> Happened:
    """A step of a part."""
    return {
        "part": external_id("ref", step.refund_id),
        "before": step.before.value if step.before else None,
        "after": step.after.value,
        "cause": step.cause,
        "at": moment(step.at),
    }


def moment(at: datetime) -> str:
    """RFC 3339, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _part(refund: Refund) -> Part:
    return {
        "id": external_id("ref", refund.id),
        "tender": refund.payment_intent or STORE_CREDIT,
        "destination": cast("Literal['original', 'store_credit']", refund.destination),
        "amount_minor": refund.amount_minor,
        "status": refund.state.value,
        "stripe_refund_id": refund.stripe_refund_id,
        "failure_reason": refund.failure_reason,
    }
