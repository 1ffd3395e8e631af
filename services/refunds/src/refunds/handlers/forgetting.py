"""Forget what repeated requests are answered from, once nobody repeats them any more."""

from dataclasses import dataclass
from typing import Final

from payments_shared import idempotency
from payments_shared.postgres import Pool, acquire
from payments_shared.sweeper import Round

KEPT_DAYS: Final = 7
AT_ONCE: Final = 10_000  # so few that a statement ends soon


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Sweep over the keys of requests; a refund itself is never forgotten."""

    pool: Pool

    async def forget(self) -> Round:
        """Delete what is older than `KEPT_DAYS`; a key that is used again afterwards is a new one."""
        async with acquire(self.pool) as connection:
            while await idempotency.forget(connection, older_than_days=KEPT_DAYS, at_most=AT_ONCE) == AT_ONCE:
                pass
        return Round()
