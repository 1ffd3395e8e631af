"""Switches, on the internal port."""

from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from checkout.handlers.switching import Switching
from checkout.model.limits import Position, Switch, Turn
from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from payments_shared.http.operations import DATABASE_AWAY, Answer, Body, Operation, people
from payments_shared.postgres import unavailable_as_retryable


class TurnRequest(BaseModel):
    """`PUT /admin/switches/checkouts`. Whoever stops says why."""

    model_config = ConfigDict(extra="forbid")

    state: Position
    reason: Annotated[str, StringConstraints(strip_whitespace=True), Field(min_length=3, max_length=500)] | None = None

    @model_validator(mode="after")
    def _stopped_for_a_reason(self) -> "TurnRequest":
        if self.state is Position.STOPPED and self.reason is None:
            raise ValueError("say why")
        return self


class Switched(TypedDict):
    """Where the switch stands, and its latest turns, the newest first."""

    state: Position
    turns: list[Turn]


SHOW: Final = Operation(
    method="GET",
    path="/admin/switches/checkouts",
    id="getCheckoutsSwitch",
    summary="See whether new orders are taken, and who turned the switch.",
    callers=(people("admin", "approver", "operator", "support", "viewer"),),
    answers=(Answer(200, "Where it stands.", Switched),),
    refusals=(DATABASE_AWAY,),
)
TURN: Final = Operation(
    method="PUT",
    path="/admin/switches/checkouts",
    id="turnCheckoutsSwitch",
    summary="Stop new orders, or take them again.",
    description="At once, on every instance. What is under way goes on.",
    callers=(people("admin", "operator"),),
    body=Body(TurnRequest, {"state": "stopped", "reason": "prices are wrong"}),
    answers=(Answer(200, "Where it stands now.", Switched),),
    refusals=(DATABASE_AWAY,),
)
OPERATIONS: Final = (SHOW, TURN)


@dataclass(frozen=True, slots=True)
class Door:
    """The switch of checkouts; turning it needs the role admin or operator, looking any role of staff."""

    switching: Switching
    people: Verifier

    async def show(self, request: web.Request) -> web.Response:
        """Where the switch stands, and its latest turns."""
        require(request, self.people, *SHOW.roles)
        return await self._shown()

    async def turn(self, request: web.Request) -> web.Response:
        """The same after a turn."""
        person = require(request, self.people, *TURN.roles)
        body = await read_json(request, TurnRequest)
        with unavailable_as_retryable():
            await self.switching.turn(Switch.CHECKOUTS, body.state, person.subject, body.reason)
        return await self._shown()

    async def _shown(self) -> web.Response:
        with unavailable_as_retryable():
            turns = await self.switching.turns(Switch.CHECKOUTS)
        state = turns[0].state if turns else Position.OPEN
        return web.json_response({"state": state.value, "turns": [_turn(turn) for turn in turns]})


def _turn(turn: Turn) -> dict[str, object]:
    return {"state": turn.state.value, "actor": turn.actor, "reason": turn.reason, "at": turn.at.isoformat()}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        SHOW.to(door.show),
        TURN.to(door.turn),
    ]
