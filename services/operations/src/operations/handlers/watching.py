"""How the services are, what waits for them, and which alerts fire."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from operations.decide import watching as decide
from operations.gateway.alerts import Alerts
from operations.gateway.queues import Queues
from operations.gateway.services import Services
from operations.model.alerts import Alert
from operations.model.queues import Backlog
from operations.model.services import ServiceState
from payments_shared.clock import monotonic_seconds

FRESH_SECONDS: Final = 5.0
Told = TypeVar("Told")


@dataclass(slots=True)
class _Asked(Generic[Told]):
    """What somebody else was asked; whoever wants to know meanwhile waits for that answer, and takes it for a while."""

    ask: Callable[[], Awaitable[Told]]
    _told: list[Told] = field(default_factory=list)  # of one answer, once there is one
    _told_at: float = 0.0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def told(self) -> Told:
        """The answer, as of a few seconds ago at most."""
        async with self._asking:
            if not self._told or monotonic_seconds() - self._told_at > FRESH_SECONDS:
                self._told = [await self.ask()]
                self._told_at = monotonic_seconds()
            return self._told[0]


class Watching:
    """Asks the services, the broker and Prometheus once in a while, however many people look. No `alerts`: this
    deployment does not say where a Prometheus is."""

    def __init__(self, services: Services, queues: Queues, alerts: Alerts | None) -> None:
        self._states = _Asked(services.states)
        self._queues = _Asked(queues.states)
        self._alerts = _Asked(alerts.active) if alerts is not None else None

    @property
    def hears_alerts(self) -> bool:
        """Whether there is a Prometheus to ask."""
        return self._alerts is not None

    async def states(self) -> Sequence[ServiceState]:
        """What the services said of themselves."""
        return await self._states.told()

    async def backlogs(self) -> Sequence[Backlog] | None:
        """What waits at the broker for each service; None where it does not say."""
        found = await self._queues.told()
        return None if found is None else decide.backlogs(found)

    async def alerts(self) -> Sequence[Alert] | None:
        """The alerts that fire, the most urgent first; None where Prometheus does not say."""
        found = None if self._alerts is None else await self._alerts.told()
        return None if found is None else decide.firing(found)
