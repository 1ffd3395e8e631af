"""What refunds come to, and who stands out."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from payments_shared.postgres import Pool, acquire
from refunds.decide import reporting
from refunds.model.reports import Grouping, Report
from refunds.store import reports as store
from refunds.store.refunds import business_now

COMPARED: Final = 1_000  # the largest groups; those beyond them are too small to stand out


@dataclass(frozen=True, slots=True)
class Reporting:
    """Reads and locks nothing."""

    pool: Pool

    async def report(self, since: date | None, until: date | None, by: Grouping, limit: int) -> Report:
        """The groups of a time, those that stand out first.

        Raises:
            Refused: 422 `window_invalid`.
        """
        async with acquire(self.pool) as connection:
            window = reporting.window(since, until, await business_now(connection))
            groups = await store.list_groups(connection, window, by, COMPARED)
            shop = await store.shop_rate(connection, window)
            found = reporting.marked(groups, by, shop)
            tops = await store.load_tops(connection, [top for group in found[:limit] for top in group.tops])
        return Report(window, by, shop, tuple(found[:limit]), len(found) > limit, tops)
