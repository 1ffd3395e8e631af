"""How the services are, and what waits for them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from operations.decide import watching as decide
from operations.gateway.queues import Queues
from operations.gateway.services import Services
from operations.model import Backlog, ServiceState
from payments_shared.clock import monotonic_seconds

FRESH_SECONDS: Final = 5.0


@dataclass(slots=True)
class Watching:
    """Asks the services and the broker once in a while, however many people look."""

    services: Services
    queues: Queues
    _known: Sequence[ServiceState] = ()
    _known_at: float = -FRESH_SECONDS
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: Sequence[Backlog] | None = None
    _waiting_at: float = -FRESH_SECONDS
    _counting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def states(self) -> Sequence[ServiceState]:
        """What the services said of themselves, a few seconds ago at most."""
        async with self._asking:
            if monotonic_seconds() - self._known_at > FRESH_SECONDS:
                self._known = await self.services.states()
                self._known_at = monotonic_seconds()
            return self._known

    async def backlogs(self) -> Sequence[Backlog] | None:
        """What waits at the broker for each service, as of a few seconds ago; None where it does not say."""
        async with self._counting:
            if monotonic_seconds() - self._waiting_at > FRESH_SECONDS:
                found = await self.queues.states()
                self._waiting = None if found is None else decide.backlogs(found)
                self._waiting_at = monotonic_seconds()
            return self._waiting
