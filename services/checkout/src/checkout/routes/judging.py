"""What an administrator decides about held orders, on the internal port."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from checkout.handlers.judging import Judging
from checkout.routes.admin import WRITERS, order_id_of
from checkout.routes.shapes import ORDER_ID
from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from payments_shared.http.operations import DATABASE_AWAY, NOT_FOUND, Answer, Body, Operation, Refusal
from payments_shared.postgres import unavailable_as_retryable


class VerdictRequest(BaseModel):
    """Why; it is kept with the person's name."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, StringConstraints(strip_whitespace=True), Field(min_length=3, max_length=500)]


class Released(TypedDict):
    """The order goes on, unless something else holds it still."""

    released: Literal[True]
    held_reason: str | None


class OrderIsRefused(TypedDict):
    """The money goes back. `held_reason` ends once it has."""

    refused: Literal[True]
    held_reason: str | None


RELEASE: Final = Operation(
    method="POST",
    path="/admin/orders/{order_id}/release",
    id="releaseOrder",
    summary="Let a held order go on, as a person's decision.",
    callers=WRITERS,
    parameters=(ORDER_ID,),
    body=Body(VerdictRequest, {"reason": "The buyer called."}),
    answers=(Answer(200, "It goes on.", Released),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "order_refused", "somebody has refused it."),
        Refusal(409, "refund_on_its_way", "its bank warned of fraud, and the money goes back by itself."),
        Refusal(409, "review_rejected", "a review ended with the money on its way back."),
        DATABASE_AWAY,
    ),
)
REFUSE: Final = Operation(
    method="POST",
    path="/admin/orders/{order_id}/refuse",
    id="refuseOrder",
    summary="Give the money of a held order back, as a person's decision.",
    description="Once, however often it is asked for. When the refund has succeeded its goods are on the shelf again.",
    callers=WRITERS,
    parameters=(ORDER_ID,),
    body=Body(VerdictRequest, {"reason": "Not the cardholder."}),
    answers=(Answer(200, "It goes back.", OrderIsRefused),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "order_not_held", "nothing holds it; a refund gives its money back."),
        DATABASE_AWAY,
    ),
)
OPERATIONS: Final = (RELEASE, REFUSE)


@dataclass(frozen=True, slots=True)
class Door:
    """Both need the role admin."""

    judging: Judging
    people: Verifier

    async def release(self, request: web.Request) -> web.Response:
        """Let a held order go on. `held_reason` is what holds it still."""
        person = require(request, self.people, *RELEASE.roles)
        order_id = order_id_of(request)
        body = await read_json(request, VerdictRequest)
        with unavailable_as_retryable():
            order = await self.judging.release(order_id, person.subject, body.reason)
        return web.json_response({"released": True, "held_reason": order.held_reason})

    async def refuse(self, request: web.Request) -> web.Response:
        """Give the money of a held order back; asking again changes nothing."""
        person = require(request, self.people, *REFUSE.roles)
        order_id = order_id_of(request)
        body = await read_json(request, VerdictRequest)
        with unavailable_as_retryable():
            order = await self.judging.refuse(order_id, person.subject, body.reason)
        return web.json_response({"refused": True, "held_reason": order.held_reason})


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [RELEASE.to(door.release), REFUSE.to(door.refuse)]
