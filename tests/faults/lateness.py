"""How late this machine is: what a busy one adds to every time that is measured on it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

TICK_SECONDS: Final = 0.02


@dataclass(slots=True)
class Lateness:
    """`worst`: by how many seconds a wait of this process ended late, so far."""

    worst: float = 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Lateness]:
    """Watch this process's own loop for as long as the block runs."""
    seen = Lateness()

    async def watch() -> None:
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            seen.worst = max(seen.worst, time.monotonic() - due)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
