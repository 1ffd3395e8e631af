"""The first page: what needs somebody."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from operations.decide import watching as decide
from operations.handlers.agreeing import WAITING, Agreeing
from operations.handlers.contesting import Contesting
from operations.handlers.counting import Counting
from operations.handlers.looking import Looking
from operations.handlers.signing_in import SigningIn
from operations.handlers.watching import Watching
from operations.routes.console.disputes import SOON, URGENT
from operations.routes.console.pages import page
from operations.routes.console.people import access
from payments_shared.errors import PaymentsError, Refused
from payments_shared.postgres import unavailable_as_retryable

SHOWN: Final = 5
COUNTED: Final = 100


@dataclass(frozen=True, slots=True)
class Door:
    """Services and Prometheus are asked apart from the page, which does not wait for one that is away."""

    looking: Looking
    counting: Counting
    watching: Watching
    agreeing: Agreeing | None
    contesting: Contesting | None
    signing_in: SigningIn

    async def home(self, request: web.Request) -> web.Response:
        """The page."""
        return await self._attention(request, "home.html")

    async def attention(self, request: web.Request) -> web.Response:
        """What needs somebody, as the page asks for it again and again."""
        return await self._attention(request, "attention.html")

    async def decisions(self, request: web.Request) -> web.Response:
        """What waits for a person's decision: refunds, and disputes that are due within a week."""
        waiting, due, refused = None, None, None
        try:
            if self.agreeing is not None and self.contesting is not None:
                who = await access(request, self.signing_in)
                waiting = await self.agreeing.listed(who, WAITING, None, limit=COUNTED)
                due = await self.contesting.due(who, int(SOON.total_seconds() // 3600))
        except PaymentsError as error:
            refused = error
        return page(
            request,
            "decisions.html" if "HX-Request" in request.headers else "decisions_page.html",
            waiting=waiting,
            due=due,
            refused=refused,
            shown=SHOWN,
            urgent=URGENT,
            soon=SOON,
        )

    async def alerts(self, request: web.Request) -> web.Response:
        """Which alerts fire."""
        if not self.watching.hears_alerts:
            raise Refused("not_found", "There is no such page.", status=404)
        return page(
            request,
            "alerts.html" if "HX-Request" in request.headers else "alerts_page.html",
            alerts=await self.watching.alerts(),
            runbook=decide.runbook_address,
        )

    async def _attention(self, request: web.Request, template: str) -> web.Response:
        with unavailable_as_retryable():
            unsettled = await self.counting.unsettled()
            unfinished = await self.looking.unfinished_bulks()
        return page(
            request,
            template,
            unsettled=unsettled,
            paused=[bulk for bulk in unfinished if bulk["state"] == "paused"],
            running=[bulk for bulk in unfinished if bulk["state"] == "running"],
            decides=self.agreeing is not None,
            hears_alerts=self.watching.hears_alerts,
        )


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the first page."""
    return [
        web.get("/console", door.home),
        web.get("/console/attention", door.attention),
        web.get("/console/alerts", door.alerts),
        web.get("/console/decisions", door.decisions),
    ]
