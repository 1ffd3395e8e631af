"""Leases on work: short, and renewed while the work goes on, so that a worker who died is soon missed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog

from payments_shared.messaging.connection import wait_first
from payments_shared.postgres import is_unavailable

LEASE_SECONDS: Final = 5.0  # several renewals: one that comes late on a busy machine costs nothing
RENEW_SECONDS: Final = 1.0
RENEWAL_TIMEOUT_SECONDS: Final = 2.0  # then it is left out, and the next one tries
LAST_RENEWAL_SECONDS: Final = 0.2  # the work has ended, and somebody waits for its answer

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def renewed(renew: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `renew` every second for as long as the block runs; none is under way when it has ended.

    A renewal that cannot be written lets the lease run out, and the block goes on: somebody may then do the same work
    beside it, so a lease keeps work from being done twice, and never makes it right.
    """
    ended = asyncio.Event()
    renewing = asyncio.ensure_future(_renew_until(ended, renew))
    try:
        yield
    finally:
        ended.set()
        if not (await asyncio.wait({renewing}, timeout=LAST_RENEWAL_SECONDS))[0]:
            renewing.cancel()
            await asyncio.wait({renewing})


async def _renew_until(ended: asyncio.Event, renew: Callable[[], Awaitable[None]]) -> None:
    while True:
        await wait_first(ended, timeout_seconds=RENEW_SECONDS)
        if ended.is_set():
            return
        try:
            async with asyncio.timeout(RENEWAL_TIMEOUT_SECONDS):
                await renew()
        except Exception as error:
            if is_unavailable(error):
                log.warning("lease.not_renewed", error=type(error).__name__)
            else:
                log.exception("lease.not_renewed")  # the work itself is not to fail for that
