"""Our place among the consumers of one queue: taken, kept, given up for a while, and left."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import aio_pika.abc
import aiormq.abc
import aiormq.exceptions
import structlog

from payments_shared import metrics
from payments_shared.messaging import topology
from payments_shared.messaging.connection import Broker, ended_without_reason, underlay, wait_first
from payments_shared.messaging.delivery import Delivery
from payments_shared.messaging.topology import Topology

DECLARE_SECONDS: Final = 10.0  # below the heartbeat's patience, after which a waiting call is cancelled
ANSWER_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 1.0
DEADLY_DELIVERIES: Final = 2  # this many that nobody answered, and the message may be what kills us

log = structlog.get_logger(__name__)


class Subscription:
    """The deliveries of one queue, over a link of its own that does nothing else.

    `waiting` are those that nobody has taken up. Each is worth something only while its channel is open. `full` is set
    while there are as many as make a batch.

    At first they come one by one, until there is one that has not been delivered in vain over and over. A message that
    kills whoever handles it is then alone: a death counts as a failed delivery of everything that was here, and those
    behind it would end among the dead letters with it.
    """

    def __init__(self, broker: Broker, queue: str, *, wanted: Topology, prefetch: int, batch: int = 1) -> None:
        self.queue = queue
        self.waiting: asyncio.Queue[Delivery] = asyncio.Queue()
        self.full = asyncio.Event()
        self._batch = batch
        self._topology = wanted
        self._prefetch = prefetch
        self._one_by_one = True
        self._widening: asyncio.Task[None] | None = None
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: aiormq.abc.AbstractChannel | None = None
        self._consumer_tag: str | None = None
        self._taking = asyncio.Lock()
        self._is_paused = False
        self._has_left = False
        self.link = broker.link(f"consume-{queue.rpartition('.')[2]}", self._subscribe)
        metrics.CONSUMERS_EXPECTED.labels(queue=queue).set(1)

    async def _subscribe(self, connection: aio_pika.abc.AbstractConnection) -> None:
        await self._declare(connection)
        self._connection = connection
        channel = await connection.channel(publisher_confirms=False)
        self._channel, self._keep_alive = await underlay(channel), channel
        self._one_by_one = True
        await self._take()

    async def _take(self) -> None:
        async with self._taking:
            await self._consume()

    async def _consume(self) -> None:
        if self._channel is not None and not self._is_paused and not self._has_left and not self.active:
            beside_the_first = max(1, self._prefetch - 1)
            await self._channel.basic_qos(prefetch_count=1 if self._one_by_one else beside_the_first)
            ok = await self._channel.basic_consume(self.queue, self._receive)
            self._consumer_tag = ok.consumer_tag

    async def _receive(self, message: aiormq.abc.DeliveredMessage) -> None:
        # Nothing may be awaited here: the callbacks of a dying channel are cancelled, and order holds only so.
        delivery = Delivery(message, message.channel)
        self.waiting.put_nowait(delivery)
        if self.waiting.qsize() >= self._batch:
            self.full.set()
        if self._one_by_one and delivery.failed_deliveries < DEADLY_DELIVERIES:
            self._one_by_one = False
            self._widening = asyncio.get_running_loop().create_task(self._widen())

    async def _widen(self) -> None:
        """Take as many at once as we may. What we may take holds for a consumer's whole life, so it is made anew."""
        with _or_else(self.link.lose):
            async with self._taking:
                await self._cancel()
                await self._consume()

    async def next(self) -> list[Delivery]:
        """Take up what waits, as much as makes a batch; one at least."""
        taken = [await self.waiting.get()]
        while len(taken) < self._batch and not self.waiting.empty():
            taken.append(self.waiting.get_nowait())
        if self.waiting.qsize() < self._batch:
            self.full.clear()
        return taken

    async def _declare(self, connection: aio_pika.abc.AbstractConnection) -> None:
        admin = await connection.channel()  # one of its own: a refused declare closes the channel
        await topology.declare(admin, self._topology)
        await admin.close()

    async def declare_again(self) -> None:
        """Bring back what somebody deleted of the service's queues and bindings, as far as the broker lets us."""
        if self._connection is not None and self._has_channel:
            # What it refuses (a queue with other arguments) stays in the readiness check for a person.
            with _or_else():
                async with asyncio.timeout(DECLARE_SECONDS):
                    await self._declare(self._connection)

    @property
    def _has_channel(self) -> bool:
        return self.link.usable and self._channel is not None and not self._channel.is_closed

    @property
    def active(self) -> bool:
        """Whether the broker counts us as a consumer of the queue at this moment."""
        return self._has_channel and self._consumer_tag in getattr(self._channel, "consumers", {})

    @property
    def missing(self) -> bool:
        """Whether we should be a consumer and are none."""
        return not (self.active or self._is_paused)

    async def watch(self, stopping: asyncio.Event) -> None:
        """Notice a consumer that the broker cancelled (its queue was deleted) and subscribe again."""
        while not stopping.is_set():
            await wait_first(stopping, timeout_seconds=WATCH_SECONDS)
            metrics.CONSUMERS_ACTIVE.labels(queue=self.queue).set(int(self.active))
            if self.link.ready.is_set() and self.missing and not self._taking.locked() and not self._has_left:
                log.warning("amqp.consumer_gone", queue=self.queue)
                self.link.lose()

    async def pause(self) -> None:
        """Take no more deliveries. Those that are here stay ours: giving one back would count as a failed delivery."""
        self._is_paused = True
        metrics.CONSUMERS_EXPECTED.labels(queue=self.queue).set(0)
        async with self._taking:
            await self._cancel()

    async def resume(self) -> None:
        """Take deliveries again."""
        self._is_paused = False
        metrics.CONSUMERS_EXPECTED.labels(queue=self.queue).set(1)
        with _or_else(self.link.lose):  # on the next connection we subscribe anyway
            if self._has_channel:
                await self._take()

    def let_go(self) -> None:
        """Give back what is here and not settled, all at once, by way of a new connection."""
        self.link.lose()

    async def leave(self) -> None:
        """Take no more deliveries, for good, and give back those that nobody has taken up."""
        self._has_left = True
        async with self._taking:
            await self._cancel()
        while not self.waiting.empty():
            delivery = self.waiting.get_nowait()
            with _or_else():
                await delivery.channel.basic_nack(delivery.tag, requeue=True, wait=False)

    async def _cancel(self) -> None:
        # What the broker sends until it confirms is taken like all before: aiormq knows our tag until then.
        if self._channel is not None and self._consumer_tag is not None and self.active:
            with _or_else():
                await self._channel.basic_cancel(self._consumer_tag, timeout=ANSWER_SECONDS)


@contextlib.contextmanager
def _or_else(act: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let it pass, and `act`, when the channel dies under a question to the broker. Those who wait for the answer then
    get an error, or the library cancels them as if they were to end."""
    try:
        yield
    except (OSError, TimeoutError, RuntimeError, aiormq.exceptions.AMQPError):
        act()
    except Exception as error:
        if not ended_without_reason(error):
            raise
        act()
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        act()
