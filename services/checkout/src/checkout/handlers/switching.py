"""Stop new checkouts, and take them again. What is under way goes on either way."""

from dataclasses import dataclass
from typing import Final

import structlog

from checkout.model.limits import Position, Switch, Turn
from checkout.store import switches
from payments_shared import metrics
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire
from payments_shared.sweeper import Round

TURNS_SHOWN: Final = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Switching:
    """The switches of checkout. Every placement reads its own in its transaction, so a turn takes effect at once."""

    outbox: Outbox

    async def turns(self, switch: Switch) -> list[Turn]:
        """The latest turns, the newest first; one that was never turned is open."""
        async with acquire(self.outbox.pool) as connection:
            return await switches.list_turns(connection, switch, TURNS_SHOWN)

    async def turn(self, switch: Switch, position: Position, actor: str, reason: str | None) -> None:
        """Turn a switch. Turning it to where it stands changes nothing."""
        async with self.outbox.transaction() as tx:
            turned = await switches.turn(tx.connection, switch, position, actor, reason)
        if turned:
            log.warning("switch.turned", switch=switch.value, state=position.value, actor=actor)
        await self.measure()

    async def measure(self) -> Round:
        """Sweep: set the gauge of stopped checkouts."""
        async with acquire(self.outbox.pool) as connection:
            turns = await switches.list_turns(connection, Switch.CHECKOUTS, 1)
        metrics.CHECKOUTS_STOPPED.set(int(bool(turns) and turns[0].state is Position.STOPPED))
        return Round()
