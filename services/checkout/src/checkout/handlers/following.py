"""Follow an order: see it, and each change of it, as soon as any process has saved it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

import structlog

from checkout.decide import velocity
from checkout.decide.order import is_final
from checkout.model.orders import Order
from checkout.store import orders as store
from payments_shared import metrics
from payments_shared.clock import monotonic_seconds
from payments_shared.errors import Retryable
from payments_shared.listening import Listener
from payments_shared.postgres import Pool, acquire, is_unavailable

READS_AT_ONCE: Final = 4  # of the pool's twenty connections: a thousand who are woken at once hold up no buyer
LOOK_SECONDS: Final = 1.0  # how soon it is noticed that somebody has left
FULL_SECONDS: Final = 10

Name = TypeVar("Name")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many may follow at once in this process, how many one order, and how many from one address, which 0 does not
    bound; for how long at most, and how often they hear that all is well."""

    at_once: int
    of_one_order: int
    from_one_address: int
    seconds: float
    heartbeat_seconds: float


@dataclass(slots=True)
class Following:
    """Everybody who follows an order. `listener.run` must be running."""

    pool: Pool
    listener: Listener
    bounds: Bounds
    _places_taken: Counter[UUID] = field(default_factory=Counter)
    _taken_from: Counter[str] = field(default_factory=Counter)
    _is_closing: bool = False
    _reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READS_AT_ONCE))

    @contextlib.contextmanager
    def place(self, order_id: UUID, address: str) -> Iterator[None]:
        """A place among those who follow, among those who follow this order, and among those at this address. One that
        is not public is not counted: behind a proxy that nobody named all buyers have it.

        Raises:
            Retryable: `streams_full`, or the process is about to end.
        """
        place = address if self.bounds.from_one_address and velocity.is_buyers(address) else None
        if self._is_closing or self._is_full(order_id, place):
            raise Retryable("streams_full", "Too many follow their orders.", retry_after_seconds=FULL_SECONDS)
        with _counted(self._places_taken, order_id), _counted(self._taken_from, place):
            metrics.STREAMS_OPEN.inc()
            try:
                yield
            finally:
                metrics.STREAMS_OPEN.dec()

    def _is_full(self, order_id: UUID, place: str | None) -> bool:
        bounds, taken = self.bounds, self._places_taken
        if taken.total() >= bounds.at_once or taken[order_id] >= bounds.of_one_order:
            return True
        return place is not None and self._taken_from[place] >= bounds.from_one_address

    async def follow(
        self, order_id: UUID, seen: int | None, *, is_gone: Callable[[], bool]
    ) -> AsyncGenerator[Order | None]:
        """The order in each version that is found other than `seen`, and None whenever a heartbeat is due.

        Versions that follow each other quickly are one. It ends after a final state, when time is up, when the process
        is about to end, and soon after `is_gone`.
        """
        now = monotonic_seconds()
        ends_at, beat_at = now + self.bounds.seconds, now + self.bounds.heartbeat_seconds
        with self.listener.watch(str(order_id)) as woken:
            woken.set()
            order: Order | None = None
            while not (self._is_closing or now >= ends_at or is_gone()):
                if woken.is_set():
                    woken.clear()
                    order = await self._read(order_id)
                    if order is not None and order.version != seen:
                        seen, beat_at = order.version, now + self.bounds.heartbeat_seconds
                        yield order
                    if order is not None and is_final(order):
                        return
                now = monotonic_seconds()
                if now >= beat_at:
                    beat_at = now + self.bounds.heartbeat_seconds
                    if order is None:  # it could not be read: another try
                        woken.set()
                    yield None
                await _first_of(woken, min(beat_at, ends_at, now + LOOK_SECONDS) - now)
                now = monotonic_seconds()

    async def _read(self, order_id: UUID) -> Order | None:
        """The order; None while the database is away."""
        try:
            async with self._reading, acquire(self.pool) as connection:
                return await store.load_order(connection, order_id)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("order.not_read", order_id=order_id, error=type(error).__name__)
            return None

    async def close(self) -> None:
        """Let everybody go, and nobody in."""
        self._is_closing = True
        self.listener.wake_all()


@contextlib.contextmanager
def _counted(taken: Counter[Name], name: Name | None) -> Iterator[None]:
    """One more of `name`, of which nothing stays once there is none; None is not counted."""
    if name is None:
        yield
        return
    taken[name] += 1
    try:
        yield
    finally:
        taken[name] -= 1
        if not taken[name]:
            del taken[name]


async def _first_of(woken: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0)):
            await woken.wait()
