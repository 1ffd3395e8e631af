"""Turning callers away at the door, before any work: what is begun is then finished, and in bounded time."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Final

from payments_shared.clock import monotonic_seconds
from payments_shared.errors import Retryable

RETRY_AFTER_MAX_SECONDS: Final = 30
_SMOOTHING: Final = 0.1


class Admission:
    """At most `at_once` callers inside; the next wait in turn, up to `patience_seconds`.

    Without it a crowd that is let in waits again at every step inside, and whoever gives up late leaves half an order.
    """

    def __init__(self, *, at_once: int, patience_seconds: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._at_once = at_once
        self._patience_seconds = patience_seconds
        self._visit_seconds = 0.0
        self.waiting = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Be inside for the block.

        Raises:
            Retryable: `busy`, at once when the queue is hopeless, else when patience ends. Its `retry_after_seconds`
                is how long the queue will take at the present pace.
        """
        if self.queue_seconds > self._patience_seconds:
            raise self._busy()
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self.waiting -= 1
        started = monotonic_seconds()
        try:
            yield
        finally:
            self._free.release()
            self._visit_seconds += _SMOOTHING * (monotonic_seconds() - started - self._visit_seconds)

    @property
    def queue_seconds(self) -> float:
        """How long the queue takes at the pace of late."""
        return self.waiting * self._visit_seconds / self._at_once

    def _busy(self) -> Retryable:
        seconds = min(max(1, math.ceil(self.queue_seconds)), RETRY_AFTER_MAX_SECONDS)
        return Retryable("busy", "Too many requests at once.", retry_after_seconds=seconds)
