"""Two facts that one instance is told of in two batches, both of which are under way at the same time."""

import asyncio
from collections.abc import Callable

from payments_shared.contracts.message import Message
from payments_shared.messaging.consumer import BATCH_MAX
from tests.support.one_service import OneService

HELD_SECONDS = 0.8  # less than anybody waits for a lock


async def hear_abreast(
    service: OneService,
    first: Message,
    second: Message,
    other: Callable[[], Message],
    *,
    held_up_by: tuple[object, ...],
) -> None:
    """Let `first` be decided about beside `second`, which comes with enough `other` messages for a batch of its own.

    `held_up_by`: a statement and its arguments. What it does stands in the way of `first`, and is undone.
    """
    statement, *arguments = held_up_by
    async with service.owner.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await connection.execute(str(statement), *arguments)
        heard = [await service.say(first)]
        await asyncio.sleep(0.1)
        heard += [await service.say(message) for message in (second, *(other() for _ in range(BATCH_MAX)))]
        await asyncio.sleep(HELD_SECONDS)
        await undone.rollback()
    await service.heard(*heard)
