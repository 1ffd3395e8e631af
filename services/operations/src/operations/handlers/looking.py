"""What people look at; nothing here changes anything."""

from dataclasses import dataclass
from uuid import UUID

from operations.model import Filter, Group, Listed
from operations.store import Row, bulks, letters, timeline
from payments_shared.errors import Refused
from payments_shared.postgres import Pool, acquire

BULKS_LISTED = 20


@dataclass(frozen=True, slots=True)
class Looking:
    """One method per question."""

    pool: Pool

    async def summary(self, *, everything: bool) -> list[Row]:
        """Counts by service, type, reason and status."""
        async with acquire(self.pool) as connection:
            return await letters.summary(connection, everything=everything)

    async def groups(self, service: str | None, type_: str | None) -> list[Group]:
        """What is unsettled, by service, type and fingerprint."""
        async with acquire(self.pool) as connection:
            return await letters.groups(connection, service, type_)

    async def listed(self, wanted: Filter, limit: int) -> list[Listed]:
        """Dead letters."""
        async with acquire(self.pool) as connection:
            return await letters.listed(connection, wanted, limit)

    async def shown(self, letter_id: UUID) -> Row:
        """One dead letter.

        Raises:
            Refused: 404.
        """
        async with acquire(self.pool) as connection:
            found = await letters.shown(connection, letter_id)
        if found is None:
            raise Refused("not_found", "There is no such dead letter.", status=404)
        return found

    async def bulks(self) -> list[Row]:
        """The latest bulks."""
        async with acquire(self.pool) as connection:
            return await bulks.listed(connection, BULKS_LISTED)

    async def bulk(self, bulk_id: UUID) -> Row:
        """One bulk and how far it is.

        Raises:
            Refused: 404.
        """
        async with acquire(self.pool) as connection:
            found = await bulks.shown(connection, bulk_id)
        if found is None:
            raise Refused("not_found", "There is no such bulk.", status=404)
        return found

    async def timeline(self, order_ref: str) -> tuple[list[Row], list[Row]]:
        """What happened to an order: messages, and dead letters."""
        async with acquire(self.pool) as connection:
            return await timeline.of_order(connection, order_ref)
