"""Staff ask for refunds, look at them, and decide about them."""

from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from payments_shared import idempotency
from payments_shared.admission import Admission
from payments_shared.auth import Principal, Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import DIGITS, read_json, read_query
from payments_shared.http.operations import (
    DATABASE_AWAY,
    IDEMPOTENCY_KEY,
    NOT_FOUND,
    REPLAYED,
    RETRY_AFTER,
    Answer,
    Body,
    Header,
    Operation,
    Parameter,
    Refusal,
    people,
)
from payments_shared.ids import parse_external_id
from payments_shared.logs import about_order
from payments_shared.postgres import unavailable_as_retryable
from refunds.decide.approving import Agreed
from refunds.decide.asking import Asked
from refunds.decide.withdrawing import Taker
from refunds.handlers.deciding import Deciding
from refunds.handlers.repeating import Repeating
from refunds.handlers.requesting import Requesting, View
from refunds.model.bills import Amount, Everything, Pieces, Returned, Wish
from refunds.model.refunds import State
from refunds.model.requests import Destination, Origin, Person, Reason, Search
from refunds.routes import shapes
from refunds.routes.shapes import OrderId, RefundId

PAGE: Final = 20
PAGE_MAX: Final = 100
AMOUNT_MAX: Final = 999_999_999_999
INT_MAX: Final = 2**31 - 1
ASKERS: Final = (people("support", "admin"),)
READERS: Final = (people("support", "admin", "approver", "operator", "viewer"),)
APPROVERS: Final = (people("approver"),)
REFUND_ID: Final = Parameter("refund_id", "path", "The refund.", RefundId)


def readable(value: str) -> str:
    """A text without what no terminal shows."""
    if not all(character.isprintable() or character in "\n\t" for character in value):
        raise ValueError("must be text that can be read")
    return value


Note = Annotated[str, Field(max_length=1000), AfterValidator(readable)]
AmountMinor = Annotated[StrictInt, Field(gt=0, le=AMOUNT_MAX)]


class LineRequest(BaseModel):
    """So many pieces of a line of the order, by its index from 0. `restock`: they may be sold again."""

    model_config = ConfigDict(extra="forbid")

    line: Annotated[StrictInt, Field(ge=0, le=999)]
    quantity: Annotated[StrictInt, Field(ge=1, le=9999)]
    restock: StrictBool = True


class RefundRequest(BaseModel):
    """`POST /api/payments/refund`: everything that is left, or `amount_minor`, or `lines`, with or without `shipping`.
    `restocking_fee_minor` is kept of everything or of lines."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"not": {"required": ["amount_minor", "lines"]}},
    )

    order_id: OrderId
    amount_minor: AmountMinor | None = None
    lines: Annotated[list[LineRequest], Field(min_length=1, max_length=200)] | None = None
    shipping: StrictBool = False
    restock: Annotated[StrictBool, Field(description="Where everything goes back: it may be sold again.")] = True
    restocking_fee_minor: Annotated[StrictInt, Field(ge=0, le=AMOUNT_MAX)] = 0
    destination: Destination = Destination.ORIGINAL
    reason: Reason
    note: Note = ""

    @model_validator(mode="after")
    def _one_wish(self) -> "RefundRequest":
        if self.amount_minor is not None and self.lines is not None:
            raise ValueError("give either amount_minor or lines, or neither for everything")
        if self.amount_minor is not None and (self.restocking_fee_minor or self.shipping):
            raise ValueError("an amount has no fee and no shipping")
        if self.lines is not None and len({line.line for line in self.lines}) != len(self.lines):
            raise ValueError("each line once")
        return self

    def wish(self) -> Wish:
        """What is asked for."""
        if self.amount_minor is not None:
            return Amount(self.amount_minor)
        if self.lines is None:
            return Everything(self.restock, self.restocking_fee_minor)
        lines = tuple(Returned(line.line, line.quantity, line.restock) for line in self.lines)
        return Pieces(lines, self.shipping, self.restocking_fee_minor)


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


class RefundsQuery(BaseModel):
    """`GET /api/payments/refunds`."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX), DIGITS] = PAGE
    cursor: Annotated[RefundId | None, Field(description="The `next_cursor` of the page before.")] = None
    order_id: OrderId | None = None
    status: State | None = None
    requester: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    origin: Origin | None = None


SERVER_TIMING: Final = Header(
    "Server-Timing",
    "For how many milliseconds the order was locked, by the W3C's Server Timing; missing on a repeated answer.",
    Annotated[str, Field(pattern=r"^decision;dur=[0-9]+\.[0-9]{2}$")],
)
STOPPED: Final = Refusal(503, "refunds_stopped", "no money goes back at the moment.", (RETRY_AFTER,))
OF_REQUESTS: Final = (
    Refusal(404, "order_not_found", "there is no such order that was paid."),
    Refusal(409, "nothing_refundable", "everything went back; `refundable` is 0."),
    Refusal(409, "amount_exceeds_refundable", "more than `refundable`."),
    Refusal(409, "already_returned", "so many pieces of a line are not left."),
    Refusal(422, "line_unknown", "the order has no such line."),
    Refusal(422, "fee_too_large", "the fee leaves nothing."),
    Refusal(422, "not_payable", "the currency has no such amounts."),
    Refusal(422, "no_account", "store credit needs a buyer who was signed in."),
    Refusal(
        422,
        "too_old_for_method",
        "Stripe refunds payments by this method no longer, since `refundable_until`; store credit is possible.",
    ),
    Refusal(422, "outside_window", "the order is too old by the rules."),
    Refusal(422, "final_sale", "some of it is never taken back by the rules."),
    STOPPED,
    Refusal(503, "busy", "too many are asking at once.", (RETRY_AFTER,)),
    DATABASE_AWAY,
)
DECIDED: Final = Refusal(409, "already_decided", "it does not wait for a decision.")
REFUND: Final = Operation(
    method="POST",
    path="/api/payments/refund",
    id="createRefund",
    summary="Give money back.",
    description=(
        "Everything, an amount, or pieces of lines with their shares of discount, tax and shipping, exact to the minor "
        "unit. It goes back to each tender in proportion, or becomes store credit. By the rules it is approved at "
        "once, or waits for a second person. What is on its way counts as given back: of requests at the same time "
        "never more goes back than was paid. The same `Idempotency-Key` gets the same answer again."
    ),
    callers=ASKERS,
    parameters=(IDEMPOTENCY_KEY,),
    body=Body(
        RefundRequest,
        {"order_id": "ord_0190f5a4c0de7abc8123456789abcdef", "amount_minor": 500, "reason": "goodwill"},
    ),
    answers=(Answer(201, "The refund exists.", shapes.RefundAnswer, headers=(REPLAYED, SERVER_TIMING)),),
    refusals=OF_REQUESTS,
)
LIST: Final = Operation(
    method="GET",
    path="/api/payments/refunds",
    id="listRefunds",
    summary="List refunds.",
    description="The newest first: those of people, of the system, and of Stripe's dashboard.",
    callers=READERS,
    query=RefundsQuery,
    answers=(Answer(200, "A page of refunds.", shapes.Refunds),),
    refusals=(DATABASE_AWAY,),
)
SHOW: Final = Operation(
    method="GET",
    path="/api/payments/refunds/{refund_id}",
    id="getRefund",
    summary="See a refund with its history.",
    callers=READERS,
    parameters=(REFUND_ID,),
    answers=(Answer(200, "The refund.", shapes.RefundStory),),
    refusals=(NOT_FOUND, DATABASE_AWAY),
)
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
        "For a refund of the system's own that failed or was canceled, of which the money is still here: a surplus, or "
        "what was paid for an order that had ended, has no bill that could be refunded. It goes back the way it came, "
        "by another refund, once: whoever asks again is answered with that one, until it has come to nothing as well."
    ),
    callers=ASKERS,
    parameters=(REFUND_ID,),
    body=Body(DecisionRequest, {"note": "The buyer's bank has opened his account again."}),
    answers=(Answer(201, "The refund that pays it now.", shapes.RefundAnswer),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "not_owed", "a person asked for it, or it is store credit."),
        Refusal(409, "still_under_way", "it has not come to nothing."),
        Refusal(409, "nothing_refundable", "everything went back; `refundable` is 0."),
        STOPPED,
        DATABASE_AWAY,
    ),
)
OPERATIONS: Final = (REFUND, LIST, SHOW, APPROVE, REJECT, CANCEL, AGAIN)


@dataclass(frozen=True, slots=True)
class Door:
    """`/api/payments/refund` and `/api/payments/refunds`, for staff alone. `admission` guards asking for one."""

    requesting: Requesting
    deciding: Deciding
    repeating: Repeating
    people: Verifier
    admission: Admission

    async def refund(self, request: web.Request) -> web.Response:
        """201 with the refund; the same answer again under the same key."""
        who = require(request, self.people, *REFUND.roles)
        key_text = idempotency.parse_key(request)
        body = await read_json(request, RefundRequest)
        order_id = _order(body.order_id)
        about_order(order_id)
        asked = Asked(
            order_id=order_id,
            wish=body.wish(),
            destination=body.destination,
            reason=body.reason.value,
            note=body.note,
            requester=_person(who),
        )
        fingerprint = idempotency.fingerprint(body.model_dump(mode="json"))
        key = idempotency.Key(f"sub:{who.subject}", REFUND.path, key_text, fingerprint)
        async with self.admission.turn():
            with unavailable_as_retryable():
                answer = await self.requesting.request(asked, key, _render)
        headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
        if answer.decided_in_seconds is not None:
            headers["Server-Timing"] = f"decision;dur={answer.decided_in_seconds * 1000:.2f}"
        return web.Response(
            body=answer.body, status=answer.status, content_type="application/json", charset="utf-8", headers=headers
        )

    async def list(self, request: web.Request) -> web.Response:
        """A page of refunds."""
        require(request, self.people, *LIST.roles)
        query = read_query(request, RefundsQuery)
        search = Search(
            after=parse_external_id("ref", query.cursor) if query.cursor else None,
            order_id=_order(query.order_id) if query.order_id else None,
            state=query.status,
            requester=query.requester,
            origin=query.origin,
        )
        with unavailable_as_retryable():
            page, more = await self.requesting.search(search, query.limit)
        listed = [shapes.shown(found.request, found.refunds, found.blocked) for found in page]
        return web.json_response({"refunds": listed, "next_cursor": listed[-1]["refund_id"] if more else None})

    async def show(self, request: web.Request) -> web.Response:
        """A refund with its history."""
        require(request, self.people, *SHOW.roles)
        with unavailable_as_retryable():
            view, history = await self.requesting.show(_refund(request))
        story = [shapes.happened(step) for step in history]
        return web.json_response({**_render(view), "history": story})

    async def approve(self, request: web.Request) -> web.Response:
        """The refund, approved."""
        who = require(request, self.people, *APPROVE.roles)
        body = await read_json(request, ApprovalRequest)
        agreed = Agreed(body.amount_minor, body.currency, body.version)
        with unavailable_as_retryable():
            view = await self.deciding.approve(_refund(request), _person(who), agreed, body.note)
        return web.json_response(_render(view))

    async def reject(self, request: web.Request) -> web.Response:
        """The refund, rejected."""
        who = require(request, self.people, *REJECT.roles)
        body = await read_json(request, DecisionRequest)
        with unavailable_as_retryable():
            view = await self.deciding.reject(_refund(request), _person(who), body.note)
        return web.json_response(_render(view))

    async def cancel(self, request: web.Request) -> web.Response:
        """The refund, canceled."""
        who = require(request, self.people, *CANCEL.roles)
        body = await read_json(request, DecisionRequest)
        with unavailable_as_retryable():
            taker = Taker(_person(who), body.note, administers=who.has("admin"))
            view = await self.deciding.withdraw(_refund(request), taker)
        return web.json_response(_render(view))

    async def again(self, request: web.Request) -> web.Response:
        """201 with the refund that pays it now."""
        who = require(request, self.people, *AGAIN.roles)
        body = await read_json(request, DecisionRequest)
        with unavailable_as_retryable():
            view = await self.repeating.again(_refund(request), _person(who), body.note)
        return web.json_response(_render(view), status=201)


def _render(view: View) -> dict[str, object]:
    return {**shapes.answered(view)}


def _person(who: Principal) -> Person:
    return Person(who.subject, who.email)


def _order(text: str) -> UUID:
    return parse_external_id("ord", text)


def _refund(request: web.Request) -> UUID:
    try:
        return parse_external_id("ref", request.match_info["refund_id"])
    except ValueError:
        raise Refused("not_found", "There is no such refund.", status=404) from None


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [
        REFUND.to(door.refund),
        LIST.to(door.list),
        SHOW.to(door.show),
        APPROVE.to(door.approve),
        REJECT.to(door.reject),
        CANCEL.to(door.cancel),
        AGAIN.to(door.again),
    ]
