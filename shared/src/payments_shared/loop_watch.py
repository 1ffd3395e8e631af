"""How long one turn of the event loop computes: while it does, every other request waits.

Measured in CPU time of the loop's thread, so that a machine which is busy with others is not mistaken for a stall.
"""

import asyncio
import time
from typing import Final

from payments_shared import metrics

TICK_SECONDS: Final = 0.01


async def watch_loop(stopping: asyncio.Event) -> None:
    """Observe the CPU time between ticks until `stopping`."""
    before = time.thread_time()
    while not stopping.is_set():
        await asyncio.sleep(TICK_SECONDS)
        now = time.thread_time()
        metrics.LOOP_TURN_SECONDS.observe(now - before)
        before = now
