"""A process that dies at a point which its test names."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from sandbox.services.children import ChildFailed
from sandbox.services.deployment import Deployment

STARTS_MAX: Final = 5


async def armed(crashing: Deployment, plan: str, log: Path) -> None:
    """Start a checkout that dies by `plan`. What it hears of earlier work, or a sweep of its start, may strike first."""
    for _ in range(STARTS_MAX):
        crashing.start("checkout", PAYMENTS_FAILPOINT=plan, PAYMENTS_FAILPOINT_LOG=str(log))
        with contextlib.suppress(ChildFailed):
            await asyncio.to_thread(crashing.wait_ready, "checkout")
            return
        await asyncio.to_thread(log.unlink)  # there is none where it ended without being struck
    raise AssertionError("something strikes at each start")


async def brought_back(crashing: Deployment) -> None:
    """Let a checkout serve, whatever the test before left of it."""
    if not crashing.children["checkout"].running:
        crashing.start("checkout")
        await asyncio.to_thread(crashing.wait_ready, "checkout")
