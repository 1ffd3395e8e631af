"""Deliveries as they are, without decoding: for dead letters, whose content must never decide whether they are kept."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aio_pika.abc
import aiormq.abc
import aiormq.exceptions
import structlog

from payments_shared import tracing
from payments_shared.failpoints import failpoint
from payments_shared.messaging.connection import Broker, underlay, wait_first
from payments_shared.messaging.delivery import Delivery
from payments_shared.messaging.envelope import traceparent_in
from payments_shared.postgres import is_unavailable

PREFETCH: Final = 50
PAUSE_MAX_SECONDS: Final = 5.0
ODD_TRIES: Final = 4

log = structlog.get_logger(__name__)
Keep = Callable[[str, Delivery], Awaitable[None]]


class RawConsumer:
    """Consumes several queues over one link. `keep(queue, delivery)` makes the message durable; then it is acked.

    While `keep` fails the message stays unacknowledged and is tried again here: giving it back would only spin. One
    that fails although the database is there is given back after some tries, so that it holds up no other for long.
    """

    def __init__(self, broker: Broker, queues: Sequence[str], keep: Keep) -> None:
        self._queues = tuple(queues)
        self._keep = keep
        self._channel: aiormq.abc.AbstractChannel | None = None
        self._tags: dict[str, str] = {}
        self._waiting: asyncio.Queue[tuple[str, Delivery]] = asyncio.Queue()
        self.link = broker.link("consume-raw", self._subscribe)

    async def _subscribe(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=PREFETCH)
        raw = await underlay(channel)
        self._channel, self._keep_alive = raw, channel
        self._tags.clear()
        for queue in self._queues:

            async def receive(message: aiormq.abc.DeliveredMessage, queue: str = queue) -> None:
                self._waiting.put_nowait((queue, Delivery(message, raw)))

            # A queue that its owner has not declared yet closes the channel; the link then tries again.
            ok = await raw.basic_consume(queue, receive)
            self._tags[queue] = ok.consumer_tag or ""

    @property
    def active(self) -> bool:
        """Whether every queue is consumed at this moment."""
        channel = self._channel
        if channel is None or channel.is_closed or not self.link.usable:
            return False
        known = getattr(channel, "consumers", {})
        return len(self._tags) == len(self._queues) and all(tag in known for tag in self._tags.values())

    async def watch(self, stopping: asyncio.Event) -> None:
        """Subscribe again when the broker has cancelled a consumer."""
        while not stopping.is_set():
            await wait_first(stopping, timeout_seconds=1.0)
            if self.link.ready.is_set() and not self.active:
                self.link.lose()

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep what comes until `stopping`."""
        while not stopping.is_set():
            getter = asyncio.ensure_future(self._waiting.get())
            stopper = asyncio.ensure_future(stopping.wait())
            await asyncio.wait({getter, stopper}, return_when=asyncio.FIRST_COMPLETED)
            stopper.cancel()
            if not getter.done():
                getter.cancel()
                return
            queue, delivery = getter.result()
            await self._settle(queue, delivery, stopping)

    async def _kept(self, queue: str, delivery: Delivery) -> None:
        if tracing.recorder is not None:
            await tracing.recorder.kept(queue, delivery, self._keep)
        else:
            with tracing.continued(traceparent_in(delivery.body)):
                await self._keep(queue, delivery)

    async def _settle(self, queue: str, delivery: Delivery, stopping: asyncio.Event) -> None:
        pause, odd = 0.1, 0
        while not delivery.channel.is_closed and not stopping.is_set():
            try:
                await self._kept(queue, delivery)
            except Exception as error:
                if is_unavailable(error):
                    log.warning("raw.paused", queue=queue, error=type(error).__name__)
                elif odd < ODD_TRIES:
                    odd += 1
                    log.exception("raw.not_kept", queue=queue, message_id=delivery.message_id)
                else:
                    await _settled(delivery.channel.basic_nack(delivery.tag, requeue=True, wait=False))
                    return
                await wait_first(stopping, timeout_seconds=pause)
                pause = min(pause * 2, PAUSE_MAX_SECONDS)
                continue
            failpoint("letter_after_commit_before_ack")
            await _settled(delivery.channel.basic_ack(delivery.tag, wait=False))
            failpoint("letter_after_ack")
            return


async def _settled(settling: Awaitable[object]) -> None:
    # A channel that died meanwhile means redelivery, and keeping twice is harmless.
    with contextlib.suppress(RuntimeError, OSError, aiormq.exceptions.AMQPError):
        await settling
