"""The operators' door, on the internal port."""

from dataclasses import asdict, dataclass
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from webhook_ingest.handlers.backfill import Backfill, Place

log = structlog.get_logger(__name__)


class BackfillRequest(BaseModel):
    """`POST /admin/stripe/backfill`: `cursor` is the last answer's, absent at the beginning."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime
    cursor: Annotated[str, Field(max_length=300)] | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """Needs the role operator. Whoever asks is named in the log, with what came of it."""

    backfill: Backfill
    people: Verifier

    async def walk(self, request: web.Request) -> web.Response:
        """Walk Stripe's events for some seconds and answer what was found and where to go on."""
        principal = require(request, self.people, "operator")
        body = await read_json(request, BackfillRequest)
        place = Place.parse(body.cursor) if body.cursor else Place()
        step = await self.backfill.step(body.since, place, dry_run=body.dry_run)
        log.info(
            "backfill.walked",
            actor=principal.subject,
            since=body.since.isoformat(),
            place=str(place),
            dry_run=body.dry_run,
            **asdict(step.count),
        )
        return web.json_response(
            {
                "stage": step.stage,
                **asdict(step.count),
                "reached": step.reached.isoformat() if step.reached else None,
                "cursor": str(step.place) if step.place else None,
                "done": step.place is None,
            }
        )


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [web.post("/admin/stripe/backfill", door.walk)]
