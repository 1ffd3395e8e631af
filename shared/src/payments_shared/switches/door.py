"""The door of a switch, on the internal port of the service that keeps it."""

from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from payments_shared.http.operations import DATABASE_AWAY, Answer, Body, Operation, people
from payments_shared.postgres import unavailable_as_retryable
from payments_shared.switches import Position, Switch, Switching, Turn

LOOKING: Final = (people("admin", "approver", "operator", "support", "viewer"),)
TURNING: Final = (people("admin", "operator"),)


class TurnRequest(BaseModel):
    """Where the switch is to stand. Whoever stops says why."""

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


class SwitchOperations(NamedTuple):
    """What can be done at the door of a switch."""

    show: Operation
    turn: Operation


def switch_operations(switch: Switch, *, show: str, turn: str, about: str, reason: str) -> SwitchOperations:
    """The operations of `switch`: a summary of each, what a turn does, and an example of a reason to stop."""
    path, name = f"/admin/switches/{switch}", switch.capitalize()
    return SwitchOperations(
        show=Operation(
            method="GET",
            path=path,
            id=f"get{name}Switch",
            summary=show,
            callers=LOOKING,
            answers=(Answer(200, "Where it stands.", Switched),),
            refusals=(DATABASE_AWAY,),
        ),
        turn=Operation(
            method="PUT",
            path=path,
            id=f"turn{name}Switch",
            summary=turn,
            description=about,
            callers=TURNING,
            body=Body(TurnRequest, {"state": "stopped", "reason": reason}),
            answers=(Answer(200, "Where it stands now.", Switched),),
            refusals=(DATABASE_AWAY,),
        ),
    )


@dataclass(frozen=True, slots=True)
class Door:
    """A switch; turning it needs the role admin or operator, looking any role of staff."""

    switching: Switching
    people: Verifier
    operations: SwitchOperations

    async def show(self, request: web.Request) -> web.Response:
        """Where the switch stands, and its latest turns."""
        require(request, self.people, *self.operations.show.roles)
        return await self._shown()

    async def turn(self, request: web.Request) -> web.Response:
        """The same after a turn."""
        person = require(request, self.people, *self.operations.turn.roles)
        body = await read_json(request, TurnRequest)
        with unavailable_as_retryable():
            await self.switching.turn(body.state, person.subject, body.reason)
        return await self._shown()

    async def _shown(self) -> web.Response:
        with unavailable_as_retryable():
            turns = await self.switching.turns()
        state = turns[0].state if turns else Position.OPEN
        return web.json_response({"state": state.value, "turns": [_turn(turn) for turn in turns]})


def _turn(turn: Turn) -> dict[str, object]:
    return {"state": turn.state.value, "actor": turn.actor, "reason": turn.reason, "at": turn.at.isoformat()}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        door.operations.show.to(door.show),
        door.operations.turn.to(door.turn),
    ]
