"""Keep the exchange rates current."""

from dataclasses import dataclass

import structlog

from checkout.gateway import RateFeed
from checkout.store import exchange
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire
from payments_shared.sweeper import Round

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Exchanging:
    """Where rates come from, and where they go."""

    outbox: Outbox
    feed: RateFeed

    async def refresh(self) -> Round:
        """Sweep: keep what is published now. What was known of a day before stays.

        Raises:
            Retryable: the feed does not answer, or says something else.
        """
        rates = await self.feed.fetch()
        async with acquire(self.outbox.pool) as connection:
            await exchange.insert_rates(connection, rates)
        log.info("exchange.refreshed", day=rates.day.isoformat(), currencies=len(rates.per_euro))
        return Round()
