"""The services: how they are, what waits for them, and the switches that stop what they do."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from operations.decide import watching as decide
from operations.handlers.signing_in import SigningIn
from operations.handlers.switching import Switching
from operations.handlers.watching import Watching
from operations.model.people import Access
from operations.model.switches import Switch
from operations.routes.console.forms import FORM_KEY, Form, checked, reason_in
from operations.routes.console.pages import page, see
from operations.routes.console.people import AccessEnded, access, operator
from payments_shared.clock import utc_now
from payments_shared.errors import PaymentsError, Refused

PATH: Final = "/console/services"
OLD_SECONDS: Final = 30.0  # an outbox whose oldest message waits for longer does not drain
SAID: Final = {"stopped": "stopped", "open": "opened"}


class TurnForm(BaseModel):
    """Where the switch is to stand."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[str, Field(pattern=f"^({'|'.join(SAID)})$")]


@dataclass(frozen=True, slots=True)
class Words:
    """How a switch is spoken of: what it is for, that this goes on, what it means that it does not, and its buttons."""

    title: str
    going: str
    meaning: str
    stop: str
    go_on: str


WORDS: Final[Mapping[Switch, Words]] = {
    Switch.CHECKOUTS: Words(
        title="New orders",
        going="taken",
        meaning="Nobody can buy. What is under way goes on.",
        stop="Stop taking new orders",
        go_on="Take new orders again",
    ),
    Switch.REFUNDS: Words(
        title="Refunds",
        going="given",
        meaning="No money goes back. What is owed is kept, and goes back afterwards unless somebody takes it back.",
        stop="Stop giving money back",
        go_on="Give money back again",
    ),
    Switch.MAILS: Words(
        title="Mails",
        going="sent",
        meaning="No mails go out. They are kept, and go out afterwards.",
        stop="Stop sending mails",
        go_on="Send mails again",
    ),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A switch as its service shows it; `unknown`: why nobody can say where it stands."""

    switch: Switch
    shown: dict[str, Any] | None = None  # Any: JSON
    unknown: PaymentsError | None = None

    @property
    def words(self) -> Words:
        return WORDS[self.switch]


@dataclass(frozen=True, slots=True)
class Door:
    """Everybody looks; operators turn the switches of services of which it is said where they are."""

    watching: Watching
    switching: Switching
    signing_in: SigningIn

    async def services(self, request: web.Request) -> web.Response:
        """The part of pages about the services, or a page of its own."""
        if "HX-Request" in request.headers:
            return page(request, "services.html", **await self._states())
        return await self._page(request)

    async def queues(self, request: web.Request) -> web.Response:
        """The part of that page about what waits at the broker."""
        return page(request, "queues.html", backlogs=await self.watching.backlogs(), lag=decide.lag_seconds)

    async def turn(self, switch: Switch, request: web.Request) -> web.Response:
        """Stop what `switch` is for, or let it go on."""
        actor = operator(request).subject
        if switch not in self.switching.keepers:
            raise Refused("not_found", "There is no such page.", status=404)
        who, form = await access(request, self.signing_in), request[FORM_KEY]
        try:
            wanted = checked(TurnForm, {"state": form.first("state")})
            reason = reason_in(form)
            await self.switching.turn(who, switch, wanted.state, reason, actor=actor)
        except Refused as error:
            return await self._page(request, meant=(switch, form), refused=error, status=error.status)
        return see(f"{PATH}?said={SAID[wanted.state]}")

    async def _page(
        self,
        request: web.Request,
        *,
        meant: tuple[Switch, Form] | None = None,
        refused: Refused | None = None,
        status: int = 200,
    ) -> web.Response:
        return page(
            request,
            "services_page.html",
            status=status,
            **await self._states(),
            backlogs=await self.watching.backlogs(),
            lag=decide.lag_seconds,
            switches=await self._switches(request),
            reasons={meant[0]: meant[1].first("reason")} if meant else {},
            refused=refused,
        )

    async def _switches(self, request: web.Request) -> Sequence[Standing]:
        """Where they stand, each asked for itself. The page does without: it is for when things are away."""
        try:
            who = await access(request, self.signing_in)
        except AccessEnded:
            raise
        except PaymentsError as error:
            return [Standing(switch, unknown=error) for switch in self.switching.keepers]
        return await asyncio.gather(*(self._standing(who, switch) for switch in self.switching.keepers))

    async def _standing(self, who: Access, switch: Switch) -> Standing:
        try:
            return Standing(switch, await self.switching.shown(who, switch))
        except PaymentsError as error:
            return Standing(switch, unknown=error)

    async def _states(self) -> dict[str, Any]:  # Any: what the template needs
        states = await self.watching.states()
        return {"services": states, "warnings": decide.warnings(states, utc_now()), "old_seconds": OLD_SECONDS}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the services."""
    return [
        web.get(PATH, door.services),
        web.get(f"{PATH}/queues", door.queues),
        *(web.post(f"{PATH}/{switch}", partial(door.turn, switch)) for switch in Switch),
    ]
