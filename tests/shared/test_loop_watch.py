"""What is measured of the event loop, and what measuring costs."""

import asyncio
import time

from payments_shared import metrics
from payments_shared.loop_watch import watch_loop


def observed() -> tuple[float, float]:
    """How many turns were observed, and how many of them callers noticed."""
    (family,) = metrics.LOOP_TURN_SECONDS.collect()
    seen = {sample.labels.get("le", sample.name): sample.value for sample in family.samples}
    return seen["+Inf"], seen["+Inf"] - seen["0.05"]


async def watched(seconds: float, *, turns_of: float = 0.0) -> tuple[float, float]:
    """What is observed of a loop that rests for `seconds`, but for a few turns that compute for `turns_of`."""
    every_before, long_before = observed()
    stopping = asyncio.Event()
    watching = asyncio.ensure_future(watch_loop(stopping))
    for _ in range(4):
        await asyncio.sleep(seconds / 4)
        until = time.thread_time() + turns_of
        while time.thread_time() < until:
            pass
    stopping.set()
    await watching
    every, long = observed()
    return every - every_before, long - long_before


async def test_a_loop_that_rests_is_looked_at_seldom() -> None:
    every, _ = await watched(0.8)

    assert every < 40


async def test_each_turn_that_callers_notice_is_seen_once_after_rest_too() -> None:
    _, long = await watched(0.4, turns_of=0.06)

    assert long == 4
