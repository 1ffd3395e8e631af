"""The operators' door, on the internal port."""

from dataclasses import asdict, dataclass

import structlog
from aiohttp import web

from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from webhook_ingest.handlers.backfill import Backfill, Place
from webhook_ingest.routes.backfill import WALK, BackfillRequest, Walked

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """Needs the role operator. Whoever asks is named in the log, with what came of it."""

    backfill: Backfill
    people: Verifier

    async def walk(self, request: web.Request) -> web.Response:
        """Walk Stripe's events for some seconds and answer what was found and where to go on."""
        principal = require(request, self.people, *WALK.roles)
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
        count = step.count
        answer: Walked = {
            "stage": step.stage.value,
            "seen": count.seen,
            "new": count.new,
            "ignored": count.ignored,
            "dead": count.dead,
            "failed": count.failed,
            "reached": step.reached.isoformat() if step.reached else None,
            "cursor": str(step.place) if step.place else None,
            "done": step.place is None,
        }
        return web.json_response(answer)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [WALK.to(door.walk)]
