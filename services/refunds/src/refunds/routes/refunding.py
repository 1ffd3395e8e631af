"""Staff ask for refunds, and look at them."""

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
from refunds.decide.asking import Asked
from refunds.handlers.requesting import Requesting, View
from refunds.model.bills import Amount, Everything, Pieces, Returned, Wish
from refunds.model.refunds import State
from refunds.model.requests import Destination, Origin, Person, Reason, Search
from refunds.routes import shapes
from refunds.routes.shapes import OrderId, RefundId

PAGE: Final = 20
PAGE_MAX: Final = 100
AMOUNT_MAX: Final = 999_999_999_999
ASKERS: Final = (people("support", "admin"),)
READERS: Final = (people("support", "admin", "approver", "operator", "viewer"),)
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
OPERATIONS: Final = (REFUND, LIST, SHOW)


@dataclass(frozen=True, slots=True)
class Door:
    """`/api/payments/refund` and `/api/payments/refunds`, for staff alone. `admission` guards asking for one."""

    requesting: Requesting
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
            requester=person_of(who),
        )
        fingerprint = idempotency.fingerprint(body.model_dump(mode="json"))
        key = idempotency.Key(f"sub:{who.subject}", REFUND.path, key_text, fingerprint)
        async with self.admission.turn():
            with unavailable_as_retryable():
                answer = await self.requesting.request(asked, key, rendered)
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
            view, history = await self.requesting.show(refund_of(request))
        story = [shapes.happened(step) for step in history]
        return web.json_response({**rendered(view), "history": story})


def rendered(view: View) -> dict[str, object]:
    """A refund, as whoever asked or decided is answered."""
    return {**shapes.answered(view)}


def person_of(who: Principal) -> Person:
    """Whoever asks, by his names."""
    return Person(who.subject, who.email)


def _order(text: str) -> UUID:
    return parse_external_id("ord", text)


def refund_of(request: web.Request) -> UUID:
    """The refund that the path names.

    Raises:
        Refused: 404 `not_found`.
    """
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
    ]
