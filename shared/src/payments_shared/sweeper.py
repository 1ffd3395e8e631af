"""Periodic work of which only one instance of a service does a round at a time."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import structlog

from payments_shared import metrics
from payments_shared.errors import Retryable
from payments_shared.messaging.connection import wait_first
from payments_shared.postgres import Pool, acquire, is_unavailable

JITTER: Final = 0.1  # of the interval, either way: instances that started together drift apart

log = structlog.get_logger(__name__)
T = TypeVar("T")
R = TypeVar("R")
Sweep = Callable[[], Awaitable[int | None]]


async def sweep_every(
    seconds: float,
    sweep: Sweep,
    *,
    name: str,
    pool: Pool,
    stopping: asyncio.Event,
) -> None:
    """Run `sweep` about every `seconds` until `stopping`, skipping a round that another instance is doing.

    A sweep that heals what should have gone well without it answers how much it healed: rounds in a row that had to
    are measured, and alert. A round that meets an unavailable dependency is skipped too and tried at the next one.
    """
    while not stopping.is_set():
        try:
            async with acquire(pool) as connection:
                locked = await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name)
                if locked:
                    try:
                        _count(name, await sweep())
                    finally:
                        await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", name)
        except Exception as error:
            if not is_unavailable(error) and not isinstance(error, Retryable):
                raise
            log.warning("sweep.skipped", sweep=name, error=type(error).__name__)
        pause = seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        await wait_first(stopping, timeout_seconds=pause)


def _count(name: str, healed: int | None) -> None:
    metrics.SWEEPS.labels(name, "healed" if healed else "clean").inc()
    if healed:
        metrics.SWEEPS_HEALING.labels(name).inc()
        log.warning("sweep.healed", sweep=name, healed=healed)
    elif healed is not None:
        metrics.SWEEPS_HEALING.labels(name).set(0)


async def some_at_once(work: Callable[[T], Awaitable[R]], items: Iterable[T], *, limit: int) -> list[R]:
    """The answers of `work` for each of `items`, `limit` at a time; the first error is raised when all have ended."""
    turns = asyncio.Semaphore(limit)

    async def in_turn(item: T) -> R:
        async with turns:
            return await work(item)

    answers: list[R] = []
    for outcome in await asyncio.gather(*(in_turn(item) for item in items), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        answers.append(outcome)
    return answers
