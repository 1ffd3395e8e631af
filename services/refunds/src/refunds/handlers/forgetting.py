"""Forget what repeated requests are answered from, once nobody repeats them any more, and what proves orders, once no
bank asks any more."""

from dataclasses import dataclass
from typing import Final

from payments_shared import idempotency
from payments_shared.postgres import Pool, acquire
from payments_shared.sweeper import Round
from refunds.store import exhibits, patterns, submissions

KEPT_DAYS: Final = 7
PROVED_DAYS: Final = 540  # as long as card networks let buyers dispute a payment at most
CARD_DAYS: Final = 400  # longer than the year in which buyers with one card are counted
AT_ONCE: Final = 10_000  # so few that a statement ends soon


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Sweep over the keys of requests, over exhibits, over evidence that was handed in, and over cards; a refund itself
    is never forgotten."""

    pool: Pool

    async def forget(self) -> Round:
        """Delete keys that are older than `KEPT_DAYS`, of which one that is used again is a new one, and exhibits that
        are older than `PROVED_DAYS`. Forget what was handed in as long ago, where its dispute is decided, and cards
        after `CARD_DAYS`."""
        async with acquire(self.pool) as connection:
            while await idempotency.forget(connection, older_than_days=KEPT_DAYS, at_most=AT_ONCE) == AT_ONCE:
                pass
            while await exhibits.forget(connection, older_than_days=PROVED_DAYS, at_most=AT_ONCE) == AT_ONCE:
                pass
            while await submissions.forget(connection, older_than_days=PROVED_DAYS, at_most=AT_ONCE) == AT_ONCE:
                pass
            while await patterns.forget_cards(connection, older_than_days=CARD_DAYS, at_most=AT_ONCE) == AT_ONCE:
                pass
        return Round()
