"""Switches: what people may stop without stopping a service, and who turned them.

Each service keeps the turns of its own switch in the table `switch_turns` of its schema, which only grows.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import structlog

from payments_shared import metrics
from payments_shared.errors import Retryable
from payments_shared.messaging import Outbox
from payments_shared.postgres import Connection, acquire
from payments_shared.sweeper import Round

TURNS_SHOWN: Final = 20
STOPPED_SECONDS: Final = 30  # after which whoever was refused may look again: people turn switches, not programs

_TURNS: Final = "SELECT state, actor, reason, at FROM switch_turns WHERE switch = $1 ORDER BY id DESC LIMIT $2"
_TURN: Final = """
INSERT INTO switch_turns (switch, state, actor, reason) -- nothing is turned to where it stands
SELECT $1::text, $2::text, $3::text, $4::text
 WHERE $2 <> coalesce((SELECT state FROM switch_turns WHERE switch = $1 ORDER BY id DESC LIMIT 1), 'open')
RETURNING id
"""
_IS_STOPPED: Final = """
SELECT coalesce((SELECT state = 'stopped' FROM switch_turns WHERE switch = $1 ORDER BY id DESC LIMIT 1), false)
"""

log = structlog.get_logger(__name__)


class Switch(StrEnum):
    """What can be stopped: new orders, money that goes back, mails that go out."""

    CHECKOUTS = "checkouts"
    REFUNDS = "refunds"
    MAILS = "mails"


class Position(StrEnum):
    """Where a switch stands."""

    OPEN = "open"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Turn:
    """Who turned a switch, when and why. `reason` None: it was opened without a word."""

    state: Position
    actor: str
    reason: str | None
    at: datetime


async def is_stopped(connection: Connection, switch: Switch) -> bool:
    """Whether the switch stands stopped; one that was never turned is open."""
    return bool(await connection.fetchval(_IS_STOPPED, switch.value))


def stopped(switch: Switch, detail: str) -> Retryable:
    """503 `<switch>_stopped`: somebody has stopped what is asked for."""
    return Retryable(f"{switch}_stopped", detail, retry_after_seconds=STOPPED_SECONDS)


async def refuse_while_stopped(connection: Connection, switch: Switch, detail: str) -> None:
    """Go on only while the switch is open.

    Raises:
        Retryable: `<switch>_stopped`, with `detail`.
    """
    if await is_stopped(connection, switch):
        raise stopped(switch, detail)


@dataclass(frozen=True, slots=True)
class Switching:
    """A switch of a service. Who must obey reads it in his own transaction, so a turn takes effect at once."""

    outbox: Outbox
    switch: Switch

    async def turns(self) -> list[Turn]:
        """The latest turns, the newest first; none when it was never turned."""
        async with acquire(self.outbox.pool) as connection:
            rows = await connection.fetch(_TURNS, self.switch.value, TURNS_SHOWN)
        return [Turn(Position(row["state"]), row["actor"], row["reason"], row["at"]) for row in rows]

    async def turn(self, position: Position, actor: str, reason: str | None) -> None:
        """Turn it. Turning it to where it stands changes nothing."""
        async with self.outbox.transaction() as tx:
            turned = await tx.connection.fetchrow(_TURN, self.switch.value, position.value, actor, reason)
        if turned is not None:
            log.warning("switch.turned", switch=self.switch.value, state=position.value, actor=actor)
        await self.measure()

    async def ask(self) -> None:
        """The question of a queue that rests while the switch is stopped.

        Raises:
            Retryable: it is.
        """
        async with acquire(self.outbox.pool) as connection:
            await refuse_while_stopped(connection, self.switch, "It is stopped.")

    async def is_stopped(self) -> bool:
        """Whether it stands stopped."""
        async with acquire(self.outbox.pool) as connection:
            return await is_stopped(connection, self.switch)

    async def measure(self) -> Round:
        """Sweep: set the gauge."""
        metrics.SWITCH_STOPPED.labels(self.switch.value).set(int(await self.is_stopped()))
        return Round()
