"""Orders of which nothing may leave: somebody must decide."""

from dataclasses import dataclass
from typing import Final

from checkout.store import risks as store
from payments_shared import metrics
from payments_shared.postgres import Pool, acquire
from payments_shared.sweeper import Round

REASONS: Final = ("amount_mismatch", "currency_mismatch", "review", "review_rejected", "early_fraud_warning")


@dataclass(frozen=True, slots=True)
class Holding:
    """One sweep."""

    pool: Pool

    async def measure(self) -> Round:
        """Sweep: set the gauges of held orders."""
        async with acquire(self.pool) as connection:
            counts = await store.count_held(connection)
        for reason in REASONS:
            metrics.ORDERS_HELD.labels(reason).set(counts.get(reason, 0))
        return Round()
