"""Look through all of Stripe's recent events: what Stripe counts as delivered may still never have come here.

An endpoint that was disabled, or not subscribed to a type, had nothing to be delivered to it; something in front of us
may have answered in our place. Nothing else asks after a dispute, a review, a warning or a refund that nobody has heard
of.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from payments_shared import metrics
from payments_shared.clock import monotonic_seconds
from payments_shared.errors import Refused
from payments_shared.messaging.connection import wait_first
from payments_shared.postgres import acquire
from payments_shared.sweeper import Round
from webhook_ingest import store
from webhook_ingest.decide import askable, spans
from webhook_ingest.gateway import Wanted
from webhook_ingest.handlers.backfill import REFUSED_RETRY_SECONDS, Backfill, Count, Place, Stage
from webhook_ingest.model import Span

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class LookingThrough:
    """How far it came is kept in the database, for all instances and for the next start.

    `every`, of real time, is how often it looks. Events that are `young`, of business time, are left to webhooks and to
    the look for undelivered ones.
    """

    walks: Backfill
    every: timedelta
    young: timedelta
    _look_again_at: float = 0.0

    async def after_catching_up(self, sweep: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
        """Begin to `sweep` when the look for undelivered events has come to its end once: what came while the service
        was away is counted by that one.
        """
        await wait_first(stopping, self.walks.caught_up)
        await sweep()

    async def look(self, stopping: asyncio.Event) -> Round | None:
        """Sweep: take in all events that somebody hears and that are not stored, since the last look; at first since
        events began to come here. None when it is not yet time to look again, or Stripe is not answering.

        One that breaks off is gone on with in the next round, and one that missed any is repeated, from where it did.
        """
        if monotonic_seconds() < self._look_again_at or self.walks.events.stripe.resting:
            return None
        async with acquire(self.walks.ingest.outbox.pool) as connection:
            looked = await store.load_looked(connection)
        if looked.ended_ago is not None and looked.ended_ago < self.every:
            return None
        try:
            count = await self._through(spans(looked.until, looked.now - self.young), stopping)
        except Refused as refusal:
            log.error("backfill.refused", detail=refusal.detail)
            self._look_again_later()
            return Round(failed=1)
        if count is None:
            return None
        if count.failed:
            self._look_again_later()
        else:
            async with acquire(self.walks.ingest.outbox.pool) as connection:
                await store.end_look(connection)
        log.info("backfill.looked_through", seen=count.seen, new=count.new, failed=count.failed)
        return Round(count.healed, count.failed)

    async def _through(self, wanted: Sequence[Span], stopping: asyncio.Event) -> Count | None:
        """Look through spans, and keep how far each went until one has missed any; None when stopped on the way."""
        count = Count()
        for span in wanted:
            for types in askable(self.walks.ingest.policy.heard):
                asked = Wanted(*span, types=types)
                step = await self.walks.walk(asked, Place(Stage.ALL), until=stopping.is_set, dry_run=False)
                metrics.SWEEPER_HEALED.labels("unseen_event").inc(step.count.healed)
                count += step.count
                if stopping.is_set():
                    return None
            if not count.failed:
                async with acquire(self.walks.ingest.outbox.pool) as connection:
                    await store.keep_looked(connection, span.until)
        return count

    def _look_again_later(self) -> None:
        self._look_again_at = monotonic_seconds() + min(REFUSED_RETRY_SECONDS, self.every.total_seconds())
