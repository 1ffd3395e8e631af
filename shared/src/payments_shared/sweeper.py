"""Periodic work of which only one instance of a service does a round at a time."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
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


class Outcome(StrEnum):
    """What a round came to. It succeeded when it was clean or healed."""

    CLEAN = "clean"
    HEALED = "healed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Round:
    """What a sweep found: `healed` is how much it finished that should have gone well without it, `failed` how much it
    could not look at or go on with."""

    healed: int = 0
    failed: int = 0

    def __add__(self, other: "Round") -> "Round":
        return Round(self.healed + other.healed, self.failed + other.failed)


Sweep = Callable[[], Awaitable[Round | None]]
"""None: it did not look, since it was not yet time or what it needs is away."""


async def sweep_every(
    seconds: float,
    sweep: Sweep,
    *,
    name: str,
    pool: Pool,
    stopping: asyncio.Event,
) -> None:
    """Run `sweep` about every `seconds` until `stopping`, skipping a round that another instance is doing.

    Rounds are counted by their outcome, and those in a row that had to heal are measured; both alert. A round that
    meets an unavailable dependency has failed, and its work is for the next one.
    """
    for outcome in Outcome:
        metrics.SWEEPS.labels(name, outcome)  # from zero on, so that the first of each is a rise
    while not stopping.is_set():
        _count(name, await _round(sweep, name, pool))
        pause = seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        await wait_first(stopping, timeout_seconds=pause)


async def _round(sweep: Sweep, name: str, pool: Pool) -> Round | None:
    try:
        async with acquire(pool) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name):
                return None
            try:
                return await sweep()
            finally:
                await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", name)
    except Exception as error:
        if not is_unavailable(error) and not isinstance(error, Retryable):
            raise
        log.warning("sweep.unavailable", sweep=name, error=type(error).__name__)
        return Round(failed=1)


def outcome_of(done: Round | None) -> Outcome:
    """What a round counts as; whatever else it did, one that could not look at everything has failed."""
    if done is None:
        return Outcome.SKIPPED
    if done.failed:
        return Outcome.FAILED
    return Outcome.HEALED if done.healed else Outcome.CLEAN


def _count(name: str, done: Round | None) -> None:
    metrics.SWEEPS.labels(name, outcome_of(done)).inc()
    if done is None:
        return
    if done.failed:
        log.warning("sweep.failed", sweep=name, failed=done.failed)
    if done.healed:
        metrics.SWEEPS_HEALING.labels(name).inc()
        log.warning("sweep.healed", sweep=name, healed=done.healed)
    elif not done.failed:
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
