"""Payments of orders that are not here, on the internal port."""

from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from checkout.handlers.losing import Losing
from checkout.model.losing import Lost
from checkout.routes import shapes
from checkout.routes.admin import READERS, WRITERS
from checkout.routes.judging import VerdictRequest
from payments_shared.auth import Verifier, require
from payments_shared.http import Time, read_json, read_query
from payments_shared.http.operations import (
    DATABASE_AWAY,
    NOT_FOUND,
    RETRY_AFTER,
    Answer,
    Body,
    Operation,
    Parameter,
    Refusal,
)
from payments_shared.ids import external_id

INTENT: Final = r"^pi_[A-Za-z0-9_]{1,100}$"
PaymentIntent = Annotated[str, Field(pattern=INTENT)]


class LostQuery(BaseModel):
    """`GET /admin/lost-payments`."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[Time, Field(description="Payments that were begun since then.")]
    cursor: Annotated[PaymentIntent | None, Field(description="The `next_cursor` of the page before.")] = None


class LostPayment(TypedDict):
    """Money that Stripe took for an order that is not here. `refunded_minor` of it has gone back at Stripe, or is on
    its way there, whoever gave it back. `asked_for`: somebody has it given back. `given_back`: nothing of it is left;
    what a bank returned is left again. `email` and `name` are its buyer's, as Stripe knows them; in a list null where
    nothing is left, and where Stripe does not say in time."""

    payment_intent: PaymentIntent
    order_id: shapes.OrderId
    amount_minor: shapes.Minor
    refunded_minor: shapes.Minor
    currency: shapes.CurrencyCode
    created_at: shapes.Moment
    email: str | None
    name: str | None
    asked_for: bool
    given_back: bool


class LostPayments(TypedDict):
    """Those among `seen` payments of Stripe's list, the newest first. `next_cursor` is null on the last page."""

    lost_payments: list[LostPayment]
    seen: Annotated[int, Field(ge=0)]
    next_cursor: PaymentIntent | None


STRIPE_AWAY: Final = Refusal(503, "stripe_unavailable", "Stripe does not answer.", (RETRY_AFTER,))
LIST: Final = Operation(
    method="GET",
    path="/admin/lost-payments",
    id="listLostPayments",
    summary="Find payments at Stripe whose orders are not here.",
    description="As after the restore of a backup, which does not know the orders that were placed since.",
    callers=READERS,
    query=LostQuery,
    answers=(Answer(200, "Those of a page of Stripe's list; of some pages there are none.", LostPayments),),
    refusals=(
        Refusal(422, "cursor_unknown", "the cursor is none that was given here."),
        shapes.STRIPE_REFUSED,
        DATABASE_AWAY,
        STRIPE_AWAY,
    ),
)
REFUND: Final = Operation(
    method="POST",
    path="/admin/lost-payments/{payment_intent:pi_[A-Za-z0-9_]{1,100}}/refund",
    id="refundLostPayment",
    summary="Give back all that is left of a payment whose order is not here.",
    description="Once, however often it is asked for; what came back to us is tried again. Its buyer gets a mail when"
    " the refund has succeeded.",
    callers=WRITERS,
    parameters=(Parameter("payment_intent", "path", "The payment, as Stripe names it.", PaymentIntent),),
    body=Body(VerdictRequest, {"reason": "Placed after the moment of the restore."}),
    answers=(Answer(200, "It goes back.", LostPayment),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "order_known", "its order is here; a refund gives its money back."),
        shapes.STRIPE_REFUSED,
        DATABASE_AWAY,
        STRIPE_AWAY,
    ),
)
OPERATIONS: Final = (LIST, REFUND)


@dataclass(frozen=True, slots=True)
class Door:
    """Looking is for staff, giving back for the role admin."""

    losing: Losing
    people: Verifier

    async def listed(self, request: web.Request) -> web.Response:
        """A page of them."""
        require(request, self.people, *LIST.roles)
        query = read_query(request, LostQuery)
        found = await self.losing.found(query.since, query.cursor)
        answer: LostPayments = {
            "lost_payments": [_shown(one) for one in found.lost],
            "seen": found.seen,
            "next_cursor": found.cursor,
        }
        return web.json_response(answer)

    async def refund(self, request: web.Request) -> web.Response:
        """Give one back; asking again changes nothing while it goes back."""
        person = require(request, self.people, *REFUND.roles)
        body = await read_json(request, VerdictRequest)
        intent = request.match_info["payment_intent"]
        return web.json_response(_shown(await self.losing.give_back(intent, by=person.subject, reason=body.reason)))


def _shown(lost: Lost) -> LostPayment:
    return {
        "payment_intent": lost.taken.payment_intent,
        "order_id": external_id("ord", lost.taken.order_id),
        "amount_minor": lost.taken.amount_minor,
        "refunded_minor": lost.taken.refunded_minor,
        "currency": lost.taken.currency,
        "created_at": lost.taken.created_at.isoformat(),
        "email": lost.buyer.email,
        "name": lost.buyer.name,
        "asked_for": lost.asked_for,
        "given_back": lost.taken.is_back,
    }


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [LIST.to(door.listed), REFUND.to(door.refund)]
