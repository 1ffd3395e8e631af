"""Consuming: take what waits, apply it in one transaction, acknowledge after the commit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Final, Literal
from uuid import UUID

import structlog

from payments_shared import metrics, tracing
from payments_shared.errors import Refused, Retryable
from payments_shared.failpoints import failpoint
from payments_shared.messaging import inbox, topology
from payments_shared.messaging.binding import AlreadyApplied, Binding, Call, in_context_of
from payments_shared.messaging.breaker import Breaker, Dependency
from payments_shared.messaging.connection import Broker, wait_first
from payments_shared.messaging.deciding import Decider, announce_resolution
from payments_shared.messaging.delivery import Delivery, Incoming, understand
from payments_shared.messaging.outbox import Outbox, Transaction
from payments_shared.messaging.publisher import Publisher
from payments_shared.messaging.recoverability import immediate_delay, is_permanent
from payments_shared.messaging.settling import Outcomes, Settler
from payments_shared.messaging.subscription import Subscription
from payments_shared.messaging.topology import Topology
from payments_shared.postgres import acquire, is_unavailable

BATCH_MAX: Final = 50
PREFETCH_MIN: Final = 200  # four batches: the next are here before the broker knows that one is done
BATCHES_AT_ONCE: Final = 2  # one is decided about while the other commits
WORK_CONCURRENCY: Final = 8
HANDLER_DEADLINE_SECONDS: Final = 60.0
ASIDE_MAX: Final = 8
OUTAGES_MAX: Final = 3  # so often may the database end under the same work before the work is suspected

log = structlog.get_logger(__name__)


class Overdue(Exception):
    """A handler did not end before its deadline."""


class Destructive(Exception):
    """Each time that this message alone was handled, the database ended under it: perhaps a statement that kills its
    server. It goes the way of all failures, since nobody else's work is safe beside it."""


class Consumer:
    """One queue of a service. `S.events` is consumed in batches, `S.work` one by one and concurrently.

    While many wait, two batches are under way; they meet as those of two instances would, and are acknowledged in the
    order in which they were taken.

    A fact that cannot be decided about is tried again, and handed on, aside: the others do not wait for it.
    """

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
        needs: Sequence[Dependency] = (),
    ) -> None:
        self.queue = f"{broker.service}.{queue}"
        self._broker = broker
        self._outbox = outbox
        self._bindings: Mapping[str, Binding] = {binding.message_type: binding for binding in bindings}
        self._decider = Decider(outbox, self._bindings)
        self._settler = Settler(broker.service, self.queue, publisher, self._bindings, tuple(retry_tiers_ms))
        self._work = queue == "work"
        self._concurrency = concurrency if self._work else BATCHES_AT_ONCE
        self._taking = asyncio.Lock()
        self._newest = asyncio.Event()  # set when the batch that was taken last has been dealt with
        self._newest.set()
        self._aside = asyncio.TaskGroup()
        self._room_aside = asyncio.Semaphore(ASIDE_MAX)
        self.breaker = Breaker(self.queue, (_database(outbox), *needs))
        self.subscription = Subscription(
            broker,
            self.queue,
            wanted=Topology.of(broker.service, retry_tiers_ms),
            prefetch=2 * self._concurrency if self._work else max(4 * batch_max, PREFETCH_MIN),
            batch=1 if self._work else batch_max,
        )

    @property
    def active(self) -> bool:
        """Whether the broker counts us as a consumer of the queue at this moment."""
        return self.subscription.active

    # -- the work ------------------------------------------------------------------------------------------------

    async def run(self, stopping: asyncio.Event) -> None:
        """Handle deliveries until `stopping`, then finish what was begun and give back the rest."""
        async with self._aside, asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._worker(stopping))
            group.create_task(self.breaker.keep(stopping, self.subscription))
        await self.subscription.leave()

    async def _worker(self, stopping: asyncio.Event) -> None:
        while await self.breaker.until_closed(stopping) and not stopping.is_set():
            await (self._call_next(stopping) if self._work else self._decide_next(stopping))

    async def _call_next(self, stopping: asyncio.Event) -> None:
        for delivery in await self._take(stopping):
            await self._call(delivery, stopping)

    async def _decide_next(self, stopping: asyncio.Event) -> None:
        async with self._taking:
            if not (self._newest.is_set() or self.subscription.full.is_set()):
                # A few cost as much as many, and by then more will have come.
                await wait_first(stopping, self._newest, self.subscription.full)
            batch = await self._take(stopping)
            before, self._newest = self._newest, asyncio.Event()
            dealt_with = self._newest
        try:
            await self._decide(batch, stopping, after=before)
        finally:
            dealt_with.set()

    async def _take(self, stopping: asyncio.Event) -> list[Delivery]:
        getter = asyncio.ensure_future(self.subscription.next())
        stopper = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({getter, stopper}, return_when=asyncio.FIRST_COMPLETED)
        stopper.cancel()
        if not getter.done():
            getter.cancel()
            return []
        alive = [delivery for delivery in getter.result() if not delivery.channel.is_closed]
        self._settler.take(alive)
        return alive

    # -- deciding ------------------------------------------------------------------------------------------------

    async def _decide(self, batch: Sequence[Delivery], stopping: asyncio.Event, *, after: asyncio.Event) -> None:
        await self._decide_together(await self._understood(batch, stopping), stopping, after=after)

    async def _decide_together(
        self, batch: Sequence[Incoming], stopping: asyncio.Event, *, after: asyncio.Event, outages: int = 0
    ) -> None:
        while batch := [incoming for incoming in batch if not incoming.delivery.channel.is_closed]:
            try:
                outcomes = await self._handled_together(batch)
            except Exception as error:
                if await self.breaker.trips(error):
                    outages += is_unavailable(error)
                    if not await self.breaker.until_closed(stopping):
                        return
                    if outages < OUTAGES_MAX:
                        continue
                suspected = min(outages, OUTAGES_MAX - 1)
                if len(batch) == 1:
                    await self._set_aside(self._decide_alone(batch[0], stopping, outages=suspected))
                    return
                # Optimistic: without savepoints. Halves of halves, until only the culprit takes the failure path.
                log.info("message.batch_split", size=len(batch), error=type(error).__name__)
                half = len(batch) // 2
                await self._decide_together(batch[:half], stopping, after=after, outages=suspected)
                await self._decide_together(batch[half:], stopping, after=after, outages=suspected)
                return
            await after.wait()  # one word then acknowledges all
            await self._settler.acknowledge_together(batch, outcomes)
            return

    async def _set_aside(self, work: Coroutine[None, None, None]) -> None:
        """Let `work` go on by itself. With much aside already all wait: it may be no fault of a few messages."""
        await self._room_aside.acquire()
        self._aside.create_task(work).add_done_callback(lambda _: self._room_aside.release())

    async def _understood(self, batch: Sequence[Delivery], stopping: asyncio.Event) -> list[Incoming]:
        understood: list[Incoming] = []
        for delivery in batch:
            if delivery.redelivered:
                metrics.MESSAGES_REDELIVERED.inc()
            try:
                understood.append(understand(delivery, self._broker))
            except Exception as error:
                await self._set_aside(self._settler.hand_on(delivery, None, error, stopping))
        return understood

    async def _decide_alone(self, incoming: Incoming, stopping: asyncio.Event, *, outages: int) -> None:
        attempt = 0
        while not incoming.delivery.channel.is_closed:
            try:
                outcome = await self._handled(incoming, self._decided)
            except Exception as error:
                failure = error
                if await self.breaker.trips(error):
                    outages += is_unavailable(error)
                    if not await self.breaker.until_closed(stopping):
                        return
                    if outages < OUTAGES_MAX:
                        continue
                    failure = _destructive(error)
                delay = None if _is_final(failure) else immediate_delay(attempt)
                if delay is None or stopping.is_set():
                    await self._settler.hand_on(incoming.delivery, incoming.envelope, failure, stopping)
                    return
                attempt += 1
                await asyncio.sleep(delay)
            else:
                await self._settler.acknowledge(incoming, outcome)
                return

    async def _handled_together(self, batch: Sequence[Incoming]) -> dict[UUID, Outcomes]:
        recorder = tracing.recorder
        return await (recorder.handled_together(batch, self.queue, self._apply) if recorder else self._apply(batch))

    async def _handled(self, incoming: Incoming, handle: Callable[[Incoming], Awaitable[Outcomes]]) -> Outcomes:
        recorder = tracing.recorder
        return await (recorder.handled(incoming, self.queue, handle) if recorder else handle(incoming))

    async def _decided(self, incoming: Incoming) -> Outcomes:
        try:
            return (await self._apply([incoming]))[incoming.envelope.id]
        except Refused as refusal:
            with in_context_of(incoming.envelope):
                await self._record_refusal(incoming, refusal)
            return "refused"

    async def _apply(self, batch: Sequence[Incoming]) -> dict[UUID, Outcomes]:
        # At the database a transaction has one name: that of the first message's trace.
        with tracing.continued(batch[0].envelope.trace):
            async with _in_time():
                return await self._decider.apply(batch)

    # -- calling -------------------------------------------------------------------------------------------------

    async def _call(self, delivery: Delivery, stopping: asyncio.Event) -> None:
        try:
            incoming = understand(delivery, self._broker)
        except Exception as error:
            await self._settler.hand_on(delivery, None, error, stopping)
            return
        outages = 0
        while not delivery.channel.is_closed:
            try:
                outcome = await self._handled(incoming, self._call_once)
            except Exception as error:
                failure = error
                if await self.breaker.trips(error):
                    outages += is_unavailable(error)
                    if not await self.breaker.until_closed(stopping):
                        return  # unacknowledged: the broker delivers it again
                    if outages < OUTAGES_MAX:
                        continue
                    failure = _destructive(error)
                await self._settler.hand_on(delivery, incoming.envelope, failure, stopping)
            else:
                await self._settler.acknowledge(incoming, outcome)
            return

    async def _call_once(self, incoming: Incoming) -> Outcomes:
        envelope, service = incoming.envelope, self._broker.service
        binding = self._bindings.get(envelope.type)
        if binding is None:
            raise LookupError(f"nothing here answers {envelope.type}")
        message = binding.model.model_validate(incoming.data)

        def resolve(tx: Transaction) -> None:
            announce_resolution(tx, incoming, service, "applied")

        call = Call(envelope, self._outbox, service, on_conclude=resolve)
        with in_context_of(envelope):
            try:
                async with _in_time():
                    if await self._seen(incoming):
                        raise AlreadyApplied
                    await binding.handler(call, message)
                    if not call.concluded:
                        async with call.conclude():
                            pass
            except Refused as refusal:
                await self._record_refusal(incoming, refusal)
                return "refused"
            except AlreadyApplied:
                await self._record_duplicate(incoming)
                return "duplicate"
        failpoint("after_commit_before_ack")
        return "applied"

    async def _seen(self, incoming: Incoming) -> bool:
        async with acquire(self._outbox.pool) as connection:
            return await inbox.seen(connection, incoming.envelope, self._broker.service)

    async def _record_refusal(self, incoming: Incoming, refusal: Refused) -> None:
        async with self._outbox.transaction() as tx:
            tx.cause = incoming.envelope
            await inbox.refuse(tx.connection, incoming.envelope, self._broker.service, str(refusal))
            announce_resolution(tx, incoming, self._broker.service, "refused")
        log.info("message.refused", type=incoming.envelope.type, code=refusal.code)

    async def _record_duplicate(self, incoming: Incoming) -> None:
        if incoming.delivery.replay_id is None:
            return
        async with self._outbox.transaction() as tx:
            tx.cause = incoming.envelope
            announce_resolution(tx, incoming, self._broker.service, "duplicate")


def _destructive(error: Exception) -> Destructive:
    suspect = Destructive(f"the database ended {OUTAGES_MAX} times under this message: {error}")
    suspect.__cause__ = error
    return suspect.with_traceback(error.__traceback__)


def _is_final(error: Exception) -> bool:
    """Whether to try again at once would be of no use, or of harm."""
    return is_permanent(error) or isinstance(error, Overdue | Destructive)


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    deadline = asyncio.timeout(HANDLER_DEADLINE_SECONDS)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if deadline.expired():  # the handler's own fault, unlike the database's TimeoutError
            raise Overdue(f"not done within {HANDLER_DEADLINE_SECONDS:.0f} s") from error
        raise


def _database(outbox: Outbox) -> Dependency:
    async def ask() -> None:
        async with acquire(outbox.pool) as connection:
            await inbox.prove(connection, outbox.service)

    def suspects(error: BaseException) -> bool:
        return is_unavailable(error) or (isinstance(error, Retryable) and error.code == "database_unavailable")

    return Dependency("database", suspects, ask)
