"""Keep the exchange rates current."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from checkout.gateway import RateFeed
from checkout.store import exchange
from checkout.store.orders import business_now
from payments_shared.errors import Retryable
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire
from payments_shared.sweeper import Round

AHEAD_MAX: Final = timedelta(days=1)  # somewhere it is tomorrow

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
            now = await business_now(connection)
            if rates.day > (now + AHEAD_MAX).date():
                raise Retryable("rates_unavailable", f"The rates of {rates.day.isoformat()} cannot be known yet.")
            await exchange.insert_rates(connection, rates)
        log.info("exchange.refreshed", day=rates.day.isoformat(), currencies=len(rates.per_euro))
        return Round()
