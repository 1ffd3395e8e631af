"""Leases on work: short, and renewed while the work goes on, so that a worker who died is soon missed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import structlog

from payments_shared.clock import monotonic_seconds
from payments_shared.messaging.connection import wait_first
from payments_shared.postgres import is_unavailable

LEASE_SECONDS: Final = 5.0  # several renewals: one that comes late on a busy machine costs nothing
RENEW_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)
W = TypeVar("W")


@dataclass(slots=True)
class Leases(Generic[W]):
    """What this process is at work on. `renew` is called every second with all that has taken longer than that: one
    statement for a crowd, and none for work that is done at once.

    A renewal that cannot be written lets leases run out, and the work goes on: somebody may then do the same beside it.
    So a lease keeps work from being done twice, and never makes it right. A renewal may come late: `renew` leaves alone
    what ran out or was given back meanwhile.
    """

    renew: Callable[[Sequence[W]], Awaitable[None]]
    _held: list[tuple[W, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def held(self, work: W) -> Iterator[None]:
        """Renew the lease on `work` for as long as the block runs."""
        piece = (work, monotonic_seconds())
        self._held.append(piece)
        try:
            yield
        finally:
            self._held.remove(piece)

    async def run(self, stopping: asyncio.Event) -> None:
        """Renew until `stopping` and nothing is left at work."""
        while self._held or not stopping.is_set():
            if stopping.is_set():
                await asyncio.sleep(RENEW_SECONDS)
            else:
                await wait_first(stopping, timeout_seconds=RENEW_SECONDS)
            await self._renew()

    async def _renew(self) -> None:
        now = monotonic_seconds()
        work = [work for work, since in self._held if now - since > RENEW_SECONDS]
        if not work:
            return
        try:
            await self.renew(work)
        except Exception as error:
            if is_unavailable(error):
                log.warning("lease.not_renewed", error=type(error).__name__, pieces=len(work))
            else:
                log.exception("lease.not_renewed", pieces=len(work))  # the work itself is not to fail for that
