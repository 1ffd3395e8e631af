"""How long one turn of the event loop computes: while it does, every other request waits.

Measured in CPU time of the loop's thread, so that a machine which is busy with others is not mistaken for a stall.
"""

import asyncio
import time
from typing import Final

from payments_shared import metrics

TICK_SECONDS: Final = 0.01
REST_SECONDS: Final = 0.04  # below what callers notice, even if all of it were computed in one turn
IDLE_SECONDS: Final = 0.001


async def watch_loop(stopping: asyncio.Event) -> None:
    """Observe the CPU time between ticks until `stopping`. While next to nothing is computed ticks are seldom: they
    would be most of what an idle service costs."""
    before, pause = time.thread_time(), TICK_SECONDS
    while not stopping.is_set():
        await asyncio.sleep(pause)
        now = time.thread_time()
        metrics.LOOP_TURN_SECONDS.observe(now - before)
        pause = REST_SECONDS if now - before < IDLE_SECONDS else TICK_SECONDS
        before = now
