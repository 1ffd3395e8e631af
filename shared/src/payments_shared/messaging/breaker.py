"""A queue rests while what its handlers need is away, instead of spending its messages' attempts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from prometheus_client import Gauge

from payments_shared import metrics
from payments_shared.clock import monotonic_seconds
from payments_shared.errors import Retryable
from payments_shared.messaging.connection import wait_first
from payments_shared.postgres import is_unavailable

ASK_SECONDS: Final = 15.0  # above Stripe's ten and a mail server's single step
AGAIN_SECONDS: Final = 0.1
AGAIN_MAX_SECONDS: Final = 5.0
HOLD_SECONDS: Final = (
    1200.0  # below the half hour after which the broker closes the channel of whoever acknowledges nothing
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Dependency:
    """What the handlers of a queue cannot do without.

    `suspects`: whether an error may mean that it is away. `ask` asks it and raises while it is; it must change nothing.
    """

    name: str
    suspects: Callable[[BaseException], bool]
    ask: Callable[[], Awaitable[object]]


def needed(name: str, code: str, ask: Callable[[], Awaitable[object]]) -> Dependency:
    """The dependency of whose absence handlers say `Retryable` with `code`."""
    return Dependency(name, lambda error: isinstance(error, Retryable) and error.code == code, ask)


class Rests(Protocol):
    """Whoever takes deliveries."""

    async def pause(self) -> None:
        """Take no more; what is here stays here."""

    async def resume(self) -> None:
        """Take again."""

    def let_go(self) -> None:
        """Give back everything that is here and unsettled."""


class Breaker:
    """Closed while all dependencies of one queue answer.

    A failure alone opens nothing: the dependency that it speaks of is asked first, and no message is ever the question.
    """

    def __init__(self, queue: str, dependencies: Sequence[Dependency]) -> None:
        self._queue = queue
        self._dependencies = tuple(dependencies)
        self._away: Dependency | None = None
        self._closed_at = float("-inf")
        self._asking = asyncio.Lock()
        self._opened = asyncio.Event()
        self._closed = asyncio.Event()
        self._closed.set()
        for dependency in dependencies:
            self._gauge(dependency).set(0)

    def _gauge(self, dependency: Dependency) -> Gauge:
        return metrics.CONSUMER_PAUSED.labels(queue=self._queue, reason=dependency.name)

    @property
    def is_open(self) -> bool:
        """Whether the queue rests."""
        return self._away is not None

    def rested_within(self, seconds: float) -> bool:
        """Whether the queue rests, or did so in the last `seconds`: what waited may still be on its way."""
        return self.is_open or monotonic_seconds() - self._closed_at < seconds

    async def trips(self, error: BaseException) -> bool:
        """Whether `error` comes from a dependency that is away. The breaker is open then, and the message that met it
        waits for `until_closed`. Otherwise the message has failed by itself."""
        for dependency in self._dependencies:
            if dependency.suspects(error):
                async with self._asking:  # those that fail together ask once
                    if not self.is_open and not await self._answers(dependency):
                        self._open(dependency, error)
                if self.is_open:
                    return True
        return False

    async def until_closed(self, stopping: asyncio.Event) -> bool:
        """Wait until every dependency answers; False when `stopping` came first."""
        if not self._closed.is_set():
            await wait_first(stopping, self._closed)
        return self._closed.is_set()

    async def keep(self, stopping: asyncio.Event, taker: Rests) -> None:
        """Let `taker` rest while the breaker is open, ask whoever is away until it answers, and close."""
        while not stopping.is_set():
            await wait_first(stopping, self._opened)
            if self._away is not None and not stopping.is_set():
                await taker.pause()
                await self._outlast(self._away, taker, stopping)
                if not stopping.is_set():
                    self._close(self._away)
                    await taker.resume()

    async def _outlast(self, dependency: Dependency, taker: Rests, stopping: asyncio.Event) -> None:
        pause, held_since = AGAIN_SECONDS, monotonic_seconds()
        while not stopping.is_set():
            await wait_first(stopping, timeout_seconds=pause)
            if stopping.is_set() or await self._answers(dependency):
                return
            pause = min(pause * 2, AGAIN_MAX_SECONDS)
            if monotonic_seconds() - held_since > HOLD_SECONDS:
                # Once in an outage: nothing is delivered to us any more, so nothing is given back again.
                taker.let_go()
                held_since = float("inf")

    async def _answers(self, dependency: Dependency) -> bool:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await dependency.ask()
        except Exception as error:
            if isinstance(error, Retryable | OSError) or is_unavailable(error):
                return False
            log.exception("breaker.question_failed", queue=self._queue, dependency=dependency.name)
        return True

    def _open(self, dependency: Dependency, error: BaseException) -> None:
        log.warning("breaker.opened", queue=self._queue, dependency=dependency.name, error=type(error).__name__)
        self._away = dependency
        self._closed.clear()
        self._opened.set()
        self._gauge(dependency).set(1)

    def _close(self, dependency: Dependency) -> None:
        log.info("breaker.closed", queue=self._queue, dependency=dependency.name)
        self._away = None
        self._closed_at = monotonic_seconds()
        self._opened.clear()
        self._closed.set()
        self._gauge(dependency).set(0)
