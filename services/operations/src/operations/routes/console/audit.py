"""The audit trail."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from operations.decide import discretion
from operations.handlers.looking import NEWEST_ACT, Looking
from operations.model.trail import ACTIONS, Sought
from operations.routes.console.forms import query_of
from operations.routes.console.pages import page, person
from payments_shared.postgres import unavailable_as_retryable

PAGE: Final = 100
EARLIEST: Final = date(2000, 1, 1)
_ROW: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def _row(value: object) -> int:
    if not isinstance(value, str) or not _ROW.fullmatch(value):
        raise ValueError("must be a whole number")
    return int(value)


class TrailQuery(BaseModel):
    """`GET /console/audit`. `since`: from that day on, in UTC. `before`: where the page before ended."""

    model_config = ConfigDict(extra="forbid")

    actor: Annotated[str, Field(max_length=255)] | None = None
    action: Annotated[str, Field(pattern=f"^({'|'.join(ACTIONS)})$")] | None = None
    since: Annotated[date, Field(ge=EARLIEST)] | None = None
    before: Annotated[int, Field(ge=1, le=NEWEST_ACT), BeforeValidator(_row)] | None = None

    def sought(self) -> Sought:
        since = datetime.combine(self.since, time(), UTC) if self.since else None
        return Sought(self.before or NEWEST_ACT, self.actor, self.action, since)


@dataclass(frozen=True, slots=True)
class Door:
    """Nothing here changes anything."""

    looking: Looking

    async def trail(self, request: web.Request) -> web.Response:
        """What people and services did, the latest first."""
        query = query_of(request, TrailQuery)
        with unavailable_as_retryable():
            rows = await self.looking.acts(query.sought(), PAGE + 1)
        if not person(request).sees_buyers:
            rows = [replace(one, detail=discretion.detail(one.detail)) for one in rows]
        following = None
        if len(rows) > PAGE:
            following = str(request.rel_url.update_query({"before": str(rows[PAGE - 1].id)}))
        return page(request, "audit.html", acts_told=rows[:PAGE], query=query, actions=ACTIONS, following=following)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the trail."""
    return [web.get("/console/audit", door.trail)]
