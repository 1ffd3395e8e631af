"""Hold back who asks too often, whichever process he asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checkout.decide import limiting
from checkout.model.limits import Allowance, Limit
from checkout.store import limiting as store
from payments_shared import metrics
from payments_shared.postgres import Pool, acquire
from payments_shared.sweeper import Round


@dataclass(frozen=True, slots=True)
class Limiting:
    """Limits that hold for all processes together; one statement a request, in no transaction of others."""

    pool: Pool
    limits: Sequence[Limit]

    async def take(self, subjects: Mapping[str, str]) -> list[Allowance]:
        """Count a request of `subjects`, by the names of limits, and tell what is left of each; nothing without limits.

        Concurrent requests are counted one after the other: of any number exactly as many are within a limit as it
        allows. One that exceeds a limit counts for the others as well.
        """
        if not self.limits:
            return []
        async with acquire(self.pool) as connection:
            counts = await store.count_requests(connection, self.limits, subjects)
        found = limiting.allowances(self.limits, counts)
        for allowance in found:
            if allowance.exceeded:
                metrics.RATE_LIMITED.labels(allowance.limit.name).inc()
        return found

    async def forget(self) -> Round:
        """Sweep: delete what is over."""
        async with acquire(self.pool) as connection:
            await store.forget_counts(connection)
        return Round()
