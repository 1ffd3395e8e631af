"""A person decides about an order that is held."""

from dataclasses import dataclass
from functools import partial
from uuid import UUID

from checkout.decide import verdicts
from checkout.handlers.facts import Facts
from checkout.model.orders import Order


@dataclass(frozen=True, slots=True)
class Judging:
    """One method for each verdict; both are kept with his name, and the order is returned as it is then."""

    facts: Facts

    async def release(self, order_id: UUID, by: str, reason: str) -> Order:
        """Let it go on.

        Raises:
            Refused: as `verdicts.release`.
        """
        async with self.facts.outbox.transaction() as tx:
            return await self.facts.judge(tx, order_id, partial(verdicts.release, by=by, reason=reason))

    async def refuse(self, order_id: UUID, by: str, reason: str) -> Order:
        """Give its money back, and keep its goods. Asking again changes nothing.

        Raises:
            Refused: as `verdicts.refuse`.
        """
        async with self.facts.outbox.transaction() as tx:
            return await self.facts.judge(tx, order_id, partial(verdicts.refuse, by=by, reason=reason))
