"""Staff decide about refunds: agree, refuse, take back, and have paid once more."""

from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from payments_shared.http.operations import DATABASE_AWAY, NOT_FOUND, Answer, Body, Operation, Refusal, people
from payments_shared.postgres import unavailable_as_retryable
from refunds.decide.approving import Agreed
from refunds.decide.withdrawing import Taker
from refunds.handlers.deciding import Deciding
from refunds.handlers.repeating import Repeating
from refunds.routes import shapes
from refunds.routes.refunding import (
    ASKERS,
    REFUND_ID,
    STOPPED,
    AmountMinor,
    Note,
    person_of,
    refund_of,
    rendered,
)

INT_MAX: Final = 2**31 - 1
APPROVERS: Final = (people("approver"),)


class ApprovalRequest(BaseModel):
    """`POST …/{refund_id}/approve`: what the approver saw and agrees to."""

    model_config = ConfigDict(extra="forbid")

    amount_minor: AmountMinor
    currency: Annotated[str, Field(pattern=r"^[a-z]{3}$")]
    version: Annotated[StrictInt, Field(ge=1, le=INT_MAX)]
    note: Note = ""


class DecisionRequest(BaseModel):
    """`POST …/{refund_id}/reject`, `…/cancel` and `…/again`."""

    model_config = ConfigDict(extra="forbid")

    note: Note = ""


DECIDED: Final = Refusal(409, "already_decided", "it does not wait for a decision.")
APPROVE: Final = Operation(
    method="POST",
    path="/api/payments/refunds/{refund_id}/approve",
    id="approveRefund",
    summary="Agree to a refund of somebody else.",
    description="Amount, currency and version are those that the approver saw: what changed meanwhile is not approved.",
    callers=APPROVERS,
    parameters=(REFUND_ID,),
    body=Body(ApprovalRequest, {"amount_minor": 60000, "currency": "usd", "version": 1}),
    answers=(Answer(200, "The refund, which is approved.", shapes.RefundAnswer),),
    refusals=(
        NOT_FOUND,
        Refusal(403, "own_request", "somebody else must decide."),
        Refusal(403, "own_order", "somebody else than the buyer must decide."),
        Refusal(409, "refund_changed", "it is another than the one that was seen."),
        Refusal(409, "amount_exceeds_refundable", "a dispute has opened: more than `refundable`."),
        DECIDED,
        STOPPED,
        DATABASE_AWAY,
    ),
)
REJECT: Final = Operation(
    method="POST",
    path="/api/payments/refunds/{refund_id}/reject",
    id="rejectRefund",
    summary="Refuse a refund of somebody else.",
    callers=APPROVERS,
    parameters=(REFUND_ID,),
    body=Body(DecisionRequest, {"note": "The goods never came back."}),
    answers=(Answer(200, "The refund, which is rejected.", shapes.RefundAnswer),),
    refusals=(
        NOT_FOUND,
        Refusal(403, "own_request", "somebody else must decide."),
        Refusal(403, "own_order", "somebody else than the buyer must decide."),
        DECIDED,
        DATABASE_AWAY,
    ),
)
CANCEL: Final = Operation(
    method="POST",
    path="/api/payments/refunds/{refund_id}/cancel",
    id="cancelRefund",
    summary="Take back a refund that waits for its approval, or is put off.",
    description=(
        "Whoever may ask for refunds takes back one that waits for its approval. One that was agreed to and is put off "
        "while refunds are stopped (`pending_reason: stopped`) is taken back by whoever asked for it or by an "
        "administrator, who says why in `note`; what the system owes, by an administrator, and it is not owed again "
        "by itself. It is taken back whole, as long as Stripe was asked for nothing of it: then nothing goes "
        "back once refunds are open again, and its amount can be refunded anew."
    ),
    callers=ASKERS,
    parameters=(REFUND_ID,),
    body=Body(DecisionRequest, {"note": "Asked for by mistake."}),
    answers=(Answer(200, "The refund, which is canceled.", shapes.RefundAnswer),),
    refusals=(
        NOT_FOUND,
        Refusal(403, "not_own_request", "it is put off, and somebody else asked for it."),
        Refusal(409, "already_decided", "it does not wait for a decision, and is not put off or may be at Stripe."),
        Refusal(422, "note_missing", "it is put off, and `note` does not say why it is taken back."),
        DATABASE_AWAY,
    ),
)
AGAIN: Final = Operation(
    method="POST",
    path="/api/payments/refunds/{refund_id}/again",
    id="repeatRefund",
    summary="Pay once more what the system owes.",
    description=(
        "For a refund that failed or was canceled, where the system owes the money that is still here: a surplus, or "
        "what was paid for an order that had ended, has no bill that could be refunded. Whoever asked for the refund, "
        "also in Stripe's dashboard. It goes back the way it came, by another refund, once: whoever asks again is "
        "answered with that one, until it has come to nothing as well."
    ),
    callers=ASKERS,
    parameters=(REFUND_ID,),
    body=Body(DecisionRequest, {"note": "The buyer's bank has opened his account again."}),
    answers=(Answer(201, "The refund that pays it now.", shapes.RefundAnswer),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "not_owed", "the system owes nothing of its payment, or it is store credit."),
        Refusal(409, "still_under_way", "it has not come to nothing."),
        Refusal(409, "nothing_refundable", "everything went back; `refundable` is 0."),
        STOPPED,
        DATABASE_AWAY,
    ),
)
OPERATIONS: Final = (APPROVE, REJECT, CANCEL, AGAIN)


@dataclass(frozen=True, slots=True)
class Door:
    """`/api/payments/refunds/{refund_id}/…`, for staff alone."""

    deciding: Deciding
    repeating: Repeating
    people: Verifier

    async def approve(self, request: web.Request) -> web.Response:
        """The refund, approved."""
        who = require(request, self.people, *APPROVE.roles)
        body = await read_json(request, ApprovalRequest)
        agreed = Agreed(body.amount_minor, body.currency, body.version)
        with unavailable_as_retryable():
            view = await self.deciding.approve(refund_of(request), person_of(who), agreed, body.note)
        return web.json_response(rendered(view))

    async def reject(self, request: web.Request) -> web.Response:
        """The refund, rejected."""
        who = require(request, self.people, *REJECT.roles)
        body = await read_json(request, DecisionRequest)
        with unavailable_as_retryable():
            view = await self.deciding.reject(refund_of(request), person_of(who), body.note)
        return web.json_response(rendered(view))

    async def cancel(self, request: web.Request) -> web.Response:
        """The refund, canceled."""
        who = require(request, self.people, *CANCEL.roles)
        body = await read_json(request, DecisionRequest)
        with unavailable_as_retryable():
            taker = Taker(person_of(who), body.note, administers=who.has("admin"))
            view = await self.deciding.withdraw(refund_of(request), taker)
        return web.json_response(rendered(view))

    async def again(self, request: web.Request) -> web.Response:
        """201 with the refund that pays it now."""
        who = require(request, self.people, *AGAIN.roles)
        body = await read_json(request, DecisionRequest)
        with unavailable_as_retryable():
            view = await self.repeating.again(refund_of(request), person_of(who), body.note)
        return web.json_response(rendered(view), status=201)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [
        APPROVE.to(door.approve),
        REJECT.to(door.reject),
        CANCEL.to(door.cancel),
        AGAIN.to(door.again),
    ]
