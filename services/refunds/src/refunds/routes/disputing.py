"""Staff look at disputes, at the public port."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from payments_shared.auth import Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import DIGITS, read_query
from payments_shared.http.operations import DATABASE_AWAY, NOT_FOUND, Answer, Operation, Parameter
from payments_shared.ids import external_id, parse_external_id
from payments_shared.postgres import unavailable_as_retryable
from refunds.handlers.looking import DisputeView, Looking
from refunds.model.disputes import Dispute, DisputeSearch, DisputeState
from refunds.routes import shapes
from refunds.routes.refunding import PAGE, PAGE_MAX, READERS
from refunds.routes.shapes import DisputeId, OrderId

DISPUTE_ID: Final = Parameter("dispute_id", "path", "The dispute, as Stripe names it.", DisputeId)
_DISPUTE_ID: Final = re.compile(shapes.DISPUTE_ID_PATTERN)
HOURS_MAX: Final = 24 * 365


class DisputesQuery(BaseModel):
    """`GET /api/payments/disputes`."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX), DIGITS] = PAGE
    cursor: Annotated[DisputeId | None, Field(description="The `next_cursor` of the page before.")] = None
    order_id: OrderId | None = None
    status: DisputeState | None = None
    due_within_hours: Annotated[
        Annotated[int, Field(ge=1, le=HOURS_MAX), DIGITS] | None,
        Field(description="Evidence is due so soon, or overdue, and none was handed in."),
    ] = None


LIST: Final = Operation(
    method="GET",
    path="/api/payments/disputes",
    id="listDisputes",
    summary="List disputes.",
    description="What buyers' banks ask about or take back, the newest first, as Stripe answered last.",
    callers=READERS,
    query=DisputesQuery,
    answers=(Answer(200, "A page of disputes.", shapes.Disputes),),
    refusals=(DATABASE_AWAY,),
)
SHOW: Final = Operation(
    method="GET",
    path="/api/payments/disputes/{dispute_id}",
    id="getDispute",
    summary="See a dispute with its history.",
    description="With the warnings of its payment and the newest refunds of its order.",
    callers=READERS,
    parameters=(DISPUTE_ID,),
    answers=(Answer(200, "The dispute.", shapes.DisputeStory),),
    refusals=(NOT_FOUND, DATABASE_AWAY),
)
OPERATIONS: Final = (LIST, SHOW)


@dataclass(frozen=True, slots=True)
class Door:
    """`/api/payments/disputes`, for staff alone."""

    looking: Looking
    people: Verifier

    async def list(self, request: web.Request) -> web.Response:
        """A page of disputes."""
        require(request, self.people, *LIST.roles)
        query = read_query(request, DisputesQuery)
        search = DisputeSearch(
            after=query.cursor,
            order_id=parse_external_id("ord", query.order_id) if query.order_id else None,
            state=query.status,
        )
        within = timedelta(hours=query.due_within_hours) if query.due_within_hours else None
        with unavailable_as_retryable():
            page, more = await self.looking.search(search, within, query.limit)
        return web.json_response(
            {"disputes": [_shown(one) for one in page], "next_cursor": page[-1].id if more else None}
        )

    async def show(self, request: web.Request) -> web.Response:
        """A dispute with its history."""
        require(request, self.people, *SHOW.roles)
        with unavailable_as_retryable():
            return web.json_response(_story(await self.looking.show(dispute_id_of(request))))


def dispute_id_of(request: web.Request) -> str:
    """The dispute in the path.

    Raises:
        Refused: 404 `not_found`: Stripe names none so.
    """
    found = request.match_info["dispute_id"]
    if not _DISPUTE_ID.fullmatch(found):
        raise Refused("not_found", "There is no such dispute.", status=404)
    return found


def _shown(dispute: Dispute) -> shapes.DisputeShown:
    return {
        "dispute_id": dispute.id,
        "order_id": external_id("ord", dispute.order_id) if dispute.order_id else None,
        "payment_intent": dispute.payment_intent,
        "charge": dispute.charge,
        "status": dispute.state.value,
        "stripe_status": dispute.stripe_status,
        "amount_minor": dispute.amount_minor,
        "currency": dispute.currency,
        "reason": dispute.reason,
        "network_reason_code": dispute.network_reason_code,
        "due_by": shapes.moment(dispute.due_by) if dispute.due_by else None,
        "has_evidence": dispute.has_evidence,
        "submission_count": dispute.submission_count,
        "past_due": dispute.past_due,
        "charge_refundable": dispute.charge_refundable,
        "version": dispute.version,
        "opened_at": shapes.moment(dispute.opened_at),
        "closed_at": shapes.moment(dispute.closed_at) if dispute.closed_at else None,
    }


def _story(view: DisputeView) -> shapes.DisputeStory:
    history: list[shapes.DisputeHappened] = [
        {
            "before": step.before.value if step.before else None,
            "after": step.after.value,
            "cause": step.cause,
            "at": shapes.moment(step.at),
        }
        for step in view.history
    ]
    warnings: list[shapes.Warned] = [
        {
            "warning_id": one.id,
            "charge": one.charge,
            "fraud_type": one.fraud_type,
            "actionable": one.actionable,
            "heard_at": shapes.moment(one.heard_at) if one.heard_at else None,
        }
        for one in view.warnings
    ]
    refunds = [shapes.shown(one.request, one.refunds, one.blocked) for one in view.refunds]
    return {**_shown(view.dispute), "history": history, "warnings": warnings, "refunds": refunds}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [LIST.to(door.list), SHOW.to(door.show)]
