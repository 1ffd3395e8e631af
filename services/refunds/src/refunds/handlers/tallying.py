"""What is usual: orders and requests by day, of the shop, its products and its operators."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from payments_shared.postgres import Pool, acquire
from payments_shared.sweeper import Round
from refunds.store import patterns as store
from refunds.store.refunds import business_now

AGAIN: Final = timedelta(days=3)  # orders are paid, and heard of, late
KEPT: Final = timedelta(days=400)
STEP: Final = timedelta(days=7)  # so few that a statement ends soon


@dataclass(frozen=True, slots=True)
class Tallying:
    """Sweep over the days that may still change, and once over those before."""

    pool: Pool

    async def tally(self) -> Round:
        """Count the last days again, from the day on that was counted last."""
        async with acquire(self.pool) as connection:
            now = await business_now(connection)
            last = await store.last_tally(connection)
            since = last - AGAIN if last is not None else await store.first_paid(connection, now - KEPT)
            while since is not None and since <= now:
                await store.tally(connection, since, until := since + STEP)
                since = until
        return Round()
