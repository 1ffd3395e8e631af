"""The services: how they are, what waits for them, and the switch that stops new orders."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from operations.decide import watching as decide
from operations.handlers.signing_in import SigningIn
from operations.handlers.switching import Switching
from operations.handlers.watching import Watching
from operations.routes.console.forms import FORM_KEY, Form, checked, reason_in
from operations.routes.console.pages import page, see
from operations.routes.console.people import AccessEnded, access, operator
from payments_shared.errors import PaymentsError, Refused

PATH: Final = "/console/services"
OLD_SECONDS: Final = 30.0  # an outbox whose oldest message waits for longer does not drain
SAID: Final = {"stopped": "stopped", "open": "opened"}


class TurnForm(BaseModel):
    """Where the switch is to stand."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[str, Field(pattern=f"^({'|'.join(SAID)})$")]


@dataclass(frozen=True, slots=True)
class Door:
    """Everybody looks; operators turn the switch. No `switching`: this deployment does not say where checkout is."""

    watching: Watching
    switching: Switching | None
    signing_in: SigningIn

    async def services(self, request: web.Request) -> web.Response:
        """The part of pages about the services, or a page of its own."""
        if "HX-Request" in request.headers:
            return page(request, "services.html", **await self._states())
        return await self._page(request)

    async def queues(self, request: web.Request) -> web.Response:
        """The part of that page about what waits at the broker."""
        return page(request, "queues.html", backlogs=await self.watching.backlogs(), lag=decide.lag_seconds)

    async def turn(self, request: web.Request) -> web.Response:
        """Stop new orders, or take them again."""
        actor = operator(request).subject
        if self.switching is None:
            raise Refused("not_found", "There is no such page.", status=404)
        who, form = await access(request, self.signing_in), request[FORM_KEY]
        try:
            wanted = checked(TurnForm, {"state": form.first("state")})
            reason = reason_in(form)
            await self.switching.turn(who, wanted.state, reason, actor=actor)
        except Refused as error:
            return await self._page(request, form=form, refused=error, status=error.status)
        return see(f"{PATH}?said={SAID[wanted.state]}")

    async def _page(
        self, request: web.Request, *, form: Form | None = None, refused: Refused | None = None, status: int = 200
    ) -> web.Response:
        switch, unknown = await self._switch(request)
        return page(
            request,
            "services_page.html",
            status=status,
            **await self._states(),
            backlogs=await self.watching.backlogs(),
            lag=decide.lag_seconds,
            switch=switch,
            unknown=unknown,
            reason=(form or Form()).first("reason"),
            refused=refused,
        )

    async def _switch(self, request: web.Request) -> tuple[Any, PaymentsError | None]:  # Any: JSON
        """The switch, or why nobody can say where it stands. The page does without: it is for when things are away."""
        if self.switching is None:
            return None, None
        try:
            return await self.switching.shown(await access(request, self.signing_in)), None
        except AccessEnded:
            raise
        except PaymentsError as error:
            return None, error

    async def _states(self) -> dict[str, Any]:  # Any: what the template needs
        states = await self.watching.states()
        return {"services": states, "warnings": decide.warnings(states), "old_seconds": OLD_SECONDS}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the services."""
    return [
        web.get(PATH, door.services),
        web.get(f"{PATH}/queues", door.queues),
        web.post(f"{PATH}/checkouts", door.turn),
    ]
