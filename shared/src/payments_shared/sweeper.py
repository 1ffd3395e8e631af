"""Periodic work of which only one instance of a service does a round at a time."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from payments_shared.errors import Retryable
from payments_shared.messaging.connection import wait_first
from payments_shared.postgres import Pool, acquire, is_unavailable

log = structlog.get_logger(__name__)


async def sweep_every(
    seconds: float,
    sweep: Callable[[], Awaitable[None]],
    *,
    name: str,
    pool: Pool,
    stopping: asyncio.Event,
) -> None:
    """Run `sweep` every `seconds` until `stopping`, skipping a round that another instance is doing.

    A round that meets an unavailable dependency is skipped too and tried at the next one.
    """
    while not stopping.is_set():
        try:
            async with acquire(pool) as connection:
                locked = await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name)
                if locked:
                    try:
                        await sweep()
                    finally:
                        await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", name)
        except Exception as error:
            if not is_unavailable(error) and not isinstance(error, Retryable):
                raise
            log.warning("sweep.skipped", sweep=name, error=type(error).__name__)
        await wait_first(stopping, timeout_seconds=seconds)
