"""Consuming: take what waits, apply it in one transaction, acknowledge after the commit."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal
from uuid import UUID

import aio_pika.abc
import aiormq.abc
import aiormq.exceptions
import structlog

from payments_shared import metrics, tracing
from payments_shared.clock import monotonic_seconds
from payments_shared.contracts.dead_letter import DeadLetterResolved
from payments_shared.errors import Refused
from payments_shared.failpoints import failpoint
from payments_shared.messaging import inbox, topology
from payments_shared.messaging.binding import AlreadyApplied, Binding, Call
from payments_shared.messaging.connection import Broker, underlay, wait_first
from payments_shared.messaging.delivery import Delivery, Incoming, understand
from payments_shared.messaging.envelope import Envelope
from payments_shared.messaging.outbox import Outbox, Transaction
from payments_shared.messaging.publisher import Publisher
from payments_shared.messaging.recoverability import immediate_delay, is_permanent
from payments_shared.messaging.settling import Outcomes, Settler
from payments_shared.messaging.topology import Topology
from payments_shared.postgres import acquire, is_unavailable

BATCH_MAX: Final = 50
WORK_CONCURRENCY: Final = 8
HANDLER_DEADLINE_SECONDS: Final = 60.0
DECLARE_SECONDS: Final = 10.0  # below the heartbeat's patience, after which a waiting call is cancelled
DATABASE_BACKOFF_SECONDS: Final = 0.1
DATABASE_BACKOFF_MAX_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Overdue(Exception):
    """A call did not end before its deadline."""


class Consumer:
    """One queue of a service. `S.events` is consumed in batches, `S.work` one by one and concurrently."""

    def __init__(
        self,
        *,
        broker: Broker,
        publisher: Publisher,
        outbox: Outbox,
        bindings: Sequence[Binding],
        queue: Literal["events", "work"] = "events",
        retry_tiers_ms: Sequence[int] = topology.RETRY_TIERS_MS,
        batch_max: int = BATCH_MAX,
        concurrency: int = WORK_CONCURRENCY,
    ) -> None:
        self.queue = f"{broker.service}.{queue}"
        self._broker = broker
        self._outbox = outbox
        self._bindings: Mapping[str, Binding] = {binding.message_type: binding for binding in bindings}
        self._topology = Topology.of(broker.service, retry_tiers_ms)
        self._settler = Settler(broker.service, self.queue, publisher, self._bindings, tuple(retry_tiers_ms))
        self._work = queue == "work"
        self._batch_max = batch_max
        self._concurrency = concurrency if self._work else 1
        self._waiting: asyncio.Queue[Delivery] = asyncio.Queue()
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: aiormq.abc.AbstractChannel | None = None
        self._consumer_tag: str | None = None
        self._draining = asyncio.Event()
        self.link = broker.link(f"consume-{queue}", self._subscribe)
        metrics.CONSUMERS_EXPECTED.labels(queue=self.queue).set(1)

    # -- the broker's side ---------------------------------------------------------------------------------------

    async def _subscribe(self, connection: aio_pika.abc.AbstractConnection) -> None:
        await self._declare(connection)
        self._connection = connection
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=4 * self._batch_max if not self._work else 2 * self._concurrency)
        raw = await underlay(channel)
        self._channel, self._keep_alive = raw, channel
        ok = await raw.basic_consume(self.queue, self._receive)
        self._consumer_tag = ok.consumer_tag

    async def _declare(self, connection: aio_pika.abc.AbstractConnection) -> None:
        admin = await connection.channel()  # one of its own: a refused declare closes the channel
        await topology.declare(admin, self._topology)
        await admin.close()

    async def declare_again(self) -> None:
        """Bring back what somebody deleted of the service's queues and bindings, as far as the broker lets us."""
        if self._connection is not None and self.active:
            # What it refuses (a queue with other arguments) stays in the readiness check for a person.
            with contextlib.suppress(OSError, TimeoutError, RuntimeError, aiormq.exceptions.AMQPError):
                async with asyncio.timeout(DECLARE_SECONDS):
                    await self._declare(self._connection)

    async def _receive(self, message: aiormq.abc.DeliveredMessage) -> None:
        # Nothing may be awaited here: the callbacks of a dying channel are cancelled, and order holds only so.
        if self._channel is not None:
            self._waiting.put_nowait(Delivery(message, self._channel))

    @property
    def active(self) -> bool:
        """Whether the broker counts us as a consumer of the queue at this moment."""
        channel = self._channel
        return bool(
            self.link.usable
            and channel is not None
            and not channel.is_closed
            and self._consumer_tag in getattr(channel, "consumers", {})
        )

    async def watch(self, stopping: asyncio.Event) -> None:
        """Notice a consumer that the broker cancelled (its queue was deleted) and subscribe again."""
        while not stopping.is_set():
            await wait_first(stopping, timeout_seconds=1.0)
            metrics.CONSUMERS_ACTIVE.labels(queue=self.queue).set(int(self.active))
            if self.link.ready.is_set() and not self.active and not self._draining.is_set():
                log.warning("amqp.consumer_gone", queue=self.queue)
                self.link.lose()

    # -- the work ------------------------------------------------------------------------------------------------

    async def run(self, stopping: asyncio.Event) -> None:
        """Handle deliveries until `stopping`, then finish what was begun and give back the rest."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._worker(stopping))
        await self._give_back()

    async def _worker(self, stopping: asyncio.Event) -> None:
        limit = 1 if self._work else self._batch_max
        while not stopping.is_set():
            batch = await self._take(limit, stopping)
            if batch:
                await (self._call(batch[0], stopping) if self._work else self._decide(batch, stopping))

    async def _take(self, limit: int, stopping: asyncio.Event) -> list[Delivery]:
        getter = asyncio.ensure_future(self._waiting.get())
        stopper = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({getter, stopper}, return_when=asyncio.FIRST_COMPLETED)
        stopper.cancel()
        if not getter.done():
            getter.cancel()
            return []
        batch = [getter.result()]
        while len(batch) < limit and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return [delivery for delivery in batch if not delivery.channel.is_closed]

    async def _give_back(self) -> None:
        self._draining.set()
        if self._channel is not None and not self._channel.is_closed and self._consumer_tag:
            with contextlib.suppress(TimeoutError, RuntimeError, aiormq.exceptions.AMQPError):
                await self._channel.basic_cancel(self._consumer_tag, timeout=5)
        while not self._waiting.empty():
            delivery = self._waiting.get_nowait()
            await self._settler.settle(delivery, lambda d: d.channel.basic_nack(d.tag, requeue=True, wait=False))

    # -- deciding ------------------------------------------------------------------------------------------------

    async def _decide(self, batch: Sequence[Delivery], stopping: asyncio.Event) -> None:
        understood: list[Incoming] = []
        for delivery in batch:
            if delivery.redelivered:
                metrics.MESSAGES_REDELIVERED.inc()
            try:
                understood.append(understand(delivery, self._broker))
            except Exception as error:
                await self._settler.hand_on(delivery, None, error, stopping)
        if not understood:
            return
        try:
            outcomes = await self._apply(understood)
        except Exception as error:
            if len(understood) > 1:
                # Optimistic: without savepoints. Only the culprit takes the failure path.
                log.info("message.batch_split", size=len(understood), error=type(error).__name__)
            for incoming in understood:
                await self._decide_alone(incoming, stopping)
            return
        metrics.CONSUMER_PAUSED.labels(reason="database").set(0)
        for incoming in understood:
            await self._settler.acknowledge(incoming, outcomes[incoming.envelope.id])

    async def _decide_alone(self, incoming: Incoming, stopping: asyncio.Event) -> None:
        attempt, outage_seconds = 0, DATABASE_BACKOFF_SECONDS
        while True:
            try:
                outcomes = await self._apply([incoming])
            except Refused as refusal:
                if await self._record_refusal(incoming, refusal):
                    return
            except Exception as error:
                if is_unavailable(error):
                    if not await self._outlast(incoming.delivery, outage_seconds, stopping):
                        return
                    outage_seconds = min(outage_seconds * 2, DATABASE_BACKOFF_MAX_SECONDS)
                    continue
                delay = None if is_permanent(error) else immediate_delay(attempt)
                if delay is None or stopping.is_set():
                    await self._settler.hand_on(incoming.delivery, incoming.envelope, error, stopping)
                    return
                attempt += 1
                await asyncio.sleep(delay)
            else:
                metrics.CONSUMER_PAUSED.labels(reason="database").set(0)
                await self._settler.acknowledge(incoming, outcomes[incoming.envelope.id])
                return

    async def _outlast(self, delivery: Delivery, seconds: float, stopping: asyncio.Event) -> bool:
        """Wait for a database that is away for everybody, instead of spending the message's attempts. False: not here
        any more; it stays unacknowledged, and the broker delivers it again."""
        if stopping.is_set() or delivery.channel.is_closed:
            return False
        metrics.CONSUMER_PAUSED.labels(reason="database").set(1)
        await wait_first(stopping, timeout_seconds=seconds)
        return True

    async def _apply(self, batch: Sequence[Incoming]) -> dict[UUID, Outcomes]:
        """Claim, handle and announce in one transaction. One aggregate's messages keep their order; aggregates are
        taken in the order of their keys, so that two batches cannot wait for each other."""
        started = monotonic_seconds()
        outcomes: dict[UUID, Outcomes] = {}
        async with asyncio.timeout(HANDLER_DEADLINE_SECONDS), acquire(self._outbox.pool) as connection:
            async with connection.transaction():
                fresh = await inbox.claim(connection, _once(batch), self._broker.service)
                failpoint("after_claim")
                flushed: list[Transaction] = []
                for incoming in sorted(batch, key=lambda one: one.envelope.partitionkey):
                    envelope = incoming.envelope
                    tx = self._outbox.open(connection, cause=envelope)
                    flushed.append(tx)
                    if envelope.id in fresh:
                        fresh.discard(envelope.id)  # a second copy in the same batch is a duplicate
                        await self._handle(tx, incoming)
                        outcomes[envelope.id] = "applied"
                    outcome = outcomes.setdefault(envelope.id, "duplicate")
                    _announce_resolution(tx, incoming, self._broker.service, outcome)
                for tx in flushed[1:]:
                    flushed[0].take(tx)
                await flushed[0].flush()
                failpoint("before_commit")
            failpoint("after_commit_before_ack")
        self._outbox.wake.set()
        metrics.MESSAGE_HANDLE_SECONDS.labels(type=batch[0].envelope.type).observe(monotonic_seconds() - started)
        return outcomes

    async def _handle(self, tx: Transaction, incoming: Incoming) -> None:
        binding = self._bindings.get(incoming.envelope.type)
        if binding is None:
            raise LookupError(f"nothing here answers {incoming.envelope.type}")
        message = binding.model.model_validate(incoming.data)
        with (
            tracing.continued(incoming.envelope.traceparent),
            structlog.contextvars.bound_contextvars(
                message_id=str(incoming.envelope.id), correlation_id=incoming.envelope.correlationid
            ),
        ):
            failpoint("before_handler", incoming.envelope.id)
            await binding.handler(tx, message)

    async def _record_refusal(self, incoming: Incoming, refusal: Refused) -> bool:
        try:
            async with self._outbox.transaction() as tx:
                tx.cause = incoming.envelope
                await inbox.refuse(tx.connection, incoming.envelope, self._broker.service, str(refusal))
                _announce_resolution(tx, incoming, self._broker.service, "refused")
        except Exception as error:
            if is_unavailable(error):
                return False
            raise
        log.info("message.refused", type=incoming.envelope.type, code=refusal.code)
        await self._settler.acknowledge(incoming, "refused")
        return True

    # -- calling -------------------------------------------------------------------------------------------------

    async def _call(self, delivery: Delivery, stopping: asyncio.Event) -> None:
        try:
            incoming = understand(delivery, self._broker)
        except Exception as error:
            await self._settler.hand_on(delivery, None, error, stopping)
            return
        outage_seconds = DATABASE_BACKOFF_SECONDS
        while True:
            try:
                outcome = await self._call_once(incoming)
            except Exception as error:
                if not is_unavailable(error):
                    metrics.CONSUMER_PAUSED.labels(reason="database").set(0)
                    await self._settler.hand_on(delivery, incoming.envelope, error, stopping)
                    return
                if not await self._outlast(delivery, outage_seconds, stopping):
                    return
                outage_seconds = min(outage_seconds * 2, DATABASE_BACKOFF_MAX_SECONDS)
            else:
                metrics.CONSUMER_PAUSED.labels(reason="database").set(0)
                await self._settler.acknowledge(incoming, outcome)
                return

    async def _call_once(self, incoming: Incoming) -> Outcomes:
        envelope, service = incoming.envelope, self._broker.service
        binding = self._bindings.get(envelope.type)
        if binding is None:
            raise LookupError(f"nothing here answers {envelope.type}")
        message = binding.model.model_validate(incoming.data)

        def resolve(tx: Transaction) -> None:
            _announce_resolution(tx, incoming, service, "applied")

        call = Call(envelope, self._outbox, service, on_conclude=resolve)
        with (
            tracing.continued(envelope.traceparent),
            structlog.contextvars.bound_contextvars(message_id=str(envelope.id), correlation_id=envelope.correlationid),
        ):
            deadline = asyncio.timeout(HANDLER_DEADLINE_SECONDS)
            try:
                async with deadline:
                    if await self._seen(incoming):
                        raise AlreadyApplied
                    await binding.handler(call, message)
                    if not call.concluded:
                        async with call.conclude():
                            pass
            except TimeoutError as error:
                if deadline.expired():  # the handler's own fault, unlike the database's TimeoutError
                    raise Overdue(f"not done within {HANDLER_DEADLINE_SECONDS:.0f} s") from error
                raise
            except Refused as refusal:
                await self._record_call_refusal(incoming, refusal)
                return "refused"
            except AlreadyApplied:
                await self._record_duplicate(incoming)
                return "duplicate"
        failpoint("after_commit_before_ack")
        return "applied"

    async def _seen(self, incoming: Incoming) -> bool:
        async with acquire(self._outbox.pool) as connection:
            return await inbox.seen(connection, incoming.envelope, self._broker.service)

    async def _record_call_refusal(self, incoming: Incoming, refusal: Refused) -> None:
        async with self._outbox.transaction() as tx:
            tx.cause = incoming.envelope
            await inbox.refuse(tx.connection, incoming.envelope, self._broker.service, str(refusal))
            _announce_resolution(tx, incoming, self._broker.service, "refused")
        log.info("message.refused", type=incoming.envelope.type, code=refusal.code)

    async def _record_duplicate(self, incoming: Incoming) -> None:
        if incoming.delivery.replay_id is None:
            return
        async with self._outbox.transaction() as tx:
            tx.cause = incoming.envelope
            _announce_resolution(tx, incoming, self._broker.service, "duplicate")


def _announce_resolution(tx: Transaction, incoming: Incoming, service: str, outcome: Outcomes) -> None:
    replay_id = incoming.delivery.replay_id
    if replay_id is not None:
        tx.announce(
            DeadLetterResolved(message_id=incoming.envelope.id, replay_id=replay_id, service=service, outcome=outcome)
        )


def _once(batch: Sequence[Incoming]) -> list[Envelope]:
    return list({incoming.envelope.id: incoming.envelope for incoming in batch}.values())
