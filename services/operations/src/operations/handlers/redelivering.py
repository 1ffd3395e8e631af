"""Stripe's events, as webhook-ingest keeps them: what came, what of it was published, and what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from operations.decide import ending
from operations.gateway.staff import Json, Staff
from operations.handlers.agreeing import Page
from operations.handlers.trailing import Trailing
from operations.model.people import Access
from operations.model.trail import Errand

EVENTS: Final = "/admin/stripe/events"
BACKFILL: Final = "/admin/stripe/backfill"
WALKS: Final = "stripe_backfill"
PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk over Stripe's list of events, and how far it is; no `cursor`: at its beginning."""

    since: datetime
    dry_run: bool
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Redelivering:
    """Each under the name of who asks."""

    ingest: Staff
    trail: Trailing

    async def listed(self, access: Access, given: Mapping[str, str]) -> Page:
        """Events of a day, the latest stored first."""
        found = await self.ingest.ask(access, "GET", EVENTS, query={**given, "limit": str(PAGE)})
        return Page(found["events"], found["next_cursor"])

    async def shown(self, access: Access, day: str, event_id: str) -> Json:
        """One event with its payload.

        Raises:
            Refused: 404.
        """
        return await self.ingest.ask(access, "GET", f"{EVENTS}/{day}/{event_id}")

    async def resend(self, access: Access, day: str, event_id: str, reason: str, *, actor: str) -> None:
        """Hand it to the broker again.

        Raises:
            Refused: 404; 409 `not_heard`, `no_longer_kept`; 504 `answer_lost`.
        """
        errand = Errand("stripe_resend", actor, reason, "webhook-ingest", f"{day}/{event_id}")
        async with self.trail.follow(errand):
            await self.ingest.ask(access, "POST", f"{EVENTS}/{day}/{event_id}/resend", body={"reason": reason})

    async def begin(self, walk: Walk, *, actor: str, reason: str) -> int:
        """Write down who asks Stripe for what is missing, and why: webhook-ingest only logs it. The row."""
        detail = {"since": walk.since.isoformat()}
        return await self.trail.begin(Errand(WALKS, actor, reason, "webhook-ingest", None, detail))

    async def finish(self, row_id: int, *, actor: str) -> None:
        """Write down that nothing of Stripe's list is left. A walk that was left before has no end."""
        await self.trail.end(row_id, actor, WALKS, ending.DONE)

    async def step(self, access: Access, walk: Walk) -> Json:
        """Go on for some seconds. What is known already is left alone, so that a step may be repeated.

        Raises:
            Refused: 409 `backfill_off`; 422 for a place that is none; 504 `answer_lost`.
        """
        body = {"since": walk.since.isoformat(), "cursor": walk.cursor, "dry_run": walk.dry_run}
        return await self.ingest.ask(access, "POST", BACKFILL, body=body)
