"""`python -m tests.faults.stuck`: fulfillment, in which whoever handles a message waits for ever, deaf to its deadline."""

import asyncio
import contextlib
import runpy
from typing import Any

from fulfillment.handlers import Handlers


async def _wait_for_ever(_self: Handlers, _batch: Any) -> None:  # Any: the batch of any fact
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


if __name__ == "__main__":
    Handlers.learn = _wait_for_ever  # type: ignore[assignment, method-assign]
    runpy.run_module("fulfillment", run_name="__main__")
