"""What people do at other services from the console, in its own trail. The services keep the whole record."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from operations.decide import ending
from operations.model.trail import Ended, Errand
from operations.store import trail
from payments_shared.errors import PaymentsError
from payments_shared.messaging import Outbox


@dataclass(frozen=True, slots=True)
class Trailing:
    """An act is a row before its service is asked, and its end another: what is killed in between is not known."""

    outbox: Outbox

    @contextlib.asynccontextmanager
    async def follow(self, errand: Errand) -> AsyncIterator[None]:
        """Write down what the block asks for, and how that ended."""
        row_id = await self.begin(errand)
        try:
            yield
        except PaymentsError as error:
            await self.end(row_id, errand.actor, errand.action, ending.of_error(error))
            raise
        await self.end(row_id, errand.actor, errand.action, ending.DONE)

    async def begin(self, errand: Errand) -> int:
        """Write down what is about to be asked for; the row."""
        async with self.outbox.transaction() as tx:
            return await trail.begin(tx.connection, errand)

    async def end(self, row_id: int, actor: str, action: str, ended: Ended) -> None:
        """Write down how it ended."""
        async with self.outbox.transaction() as tx:
            await trail.end(tx.connection, row_id, actor, action, ended)
