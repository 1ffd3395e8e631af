"""Waiting for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from payments_shared.clock import monotonic_seconds

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T]], *, within_seconds: float = 15.0, what: str = "") -> T:
    """The first truthy answer of `look`.

    Raises:
        AssertionError: there was none in time.
    """
    deadline = monotonic_seconds() + within_seconds
    while not (answer := await look()):
        if monotonic_seconds() > deadline:
            raise AssertionError(f"not within {within_seconds} s: {what or look}; last answer {answer!r}")
        await asyncio.sleep(0.02)
    return answer
