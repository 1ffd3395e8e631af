"""Dead letters moved back to their queues by the broker alone."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from operations.decide import reading
from operations.gateway.replays import Replays
from operations.model.letters import DeadLetter
from operations.model.replays import Replay
from payments_shared.clock import utc_now
from payments_shared.ids import new_id
from payments_shared.messaging import Broker
from payments_shared.messaging.connection import Link
from payments_shared.messaging.delivery import Delivery
from payments_shared.messaging.publisher import Outcome, Publisher
from payments_shared.messaging.pulling import Puller

CONNECT_SECONDS: Final = 15.0

Keep = Callable[[DeadLetter, UUID], None]


class Stopped(Exception):
    """The broker took no more; what was not moved is where it was."""


@dataclass(slots=True)
class Drained:
    """What a drain did. `left` stays among the dead letters: it failed again already, is doubtful (forged or
    forgotten), or of another type."""

    moved: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Job:
    """What to move."""

    service: str
    type: str | None
    limit: int
    rate: float


async def drained(amqp_url: str, job: Job, keep: Keep | None) -> Drained:
    """Move what `job` says. Without `keep` nothing moves: everything is only looked at."""
    broker = Broker(amqp_url, service="operations")
    puller, publisher = Puller(broker, f"{job.service}.dlq"), Publisher(broker)
    async with _linked(puller.link, publisher.link):
        if (consumers := await puller.consumers()) and keep is not None:
            raise Stopped(f"{consumers} consumers still take from {puller.queue}: stop operations first")
        return await _move(puller, Replays(publisher), job, keep)


async def _move(puller: Puller, replays: Replays, job: Job, keep: Keep | None) -> Drained:
    report, ours = Drained(), set[UUID]()
    while report.moved.total() < job.limit and (delivery := await puller.take()) is not None:
        letter = _letter(job.service, delivery)
        if letter.replay_id in ours or letter.reason in reading.DOUBTFUL or (job.type and letter.type != job.type):
            report.left[letter.type] += 1  # it goes back to its place when we are done
            continue
        if keep is not None:
            replay_id = new_id()
            ours.add(replay_id)
            keep(letter, replay_id)
            await _send(replays, letter, replay_id)
            await puller.acknowledge(delivery)
            await asyncio.sleep(1 / job.rate)
        report.moved[letter.type] += 1
    return report


def _letter(service: str, delivery: Delivery) -> DeadLetter:
    return reading.read(
        service=service,
        message_id=delivery.message_id,
        declared_type=delivery.declared_type,
        correlation_id=delivery.raw.header.properties.correlation_id,
        headers=delivery.headers,
        body=delivery.body,
        now=utc_now(),
    )


async def _send(replays: Replays, letter: DeadLetter, replay_id: UUID) -> None:
    replay = Replay(
        id=replay_id,
        dead_letter_id=letter.id,
        bulk_id=None,
        message_id=letter.message_id,
        queue=letter.queue,
        type=letter.type,
        correlation_id=letter.correlation_id,
        headers=letter.headers,
        body=letter.body,
    )
    outcome = (await replays.send([replay]))[0]
    if outcome is not Outcome.CONFIRMED:
        why = outcome or "it cannot be written"
        raise Stopped(f"the broker did not confirm message {letter.message_id} ({why}); it is still there")


@contextlib.asynccontextmanager
async def _linked(*links: Link) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    tasks = [asyncio.ensure_future(link.keep(stopping)) for link in links]
    try:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.gather(*(link.ready.wait() for link in links))
        except TimeoutError:
            raise Stopped("the broker cannot be reached") from None
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in links:
            await link.close()
