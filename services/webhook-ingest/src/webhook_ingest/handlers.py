"""Store each event once, many in one commit."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import structlog

from payments_shared import metrics
from payments_shared.contracts.stripe import message_type
from payments_shared.errors import Retryable
from payments_shared.failpoints import failpoint
from payments_shared.ids import derived_id
from payments_shared.messaging import Envelope, Outbox
from payments_shared.messaging.outbox import OutboxRow, outbox_row
from payments_shared.postgres import Connection, acquire, is_unavailable
from webhook_ingest import store
from webhook_ingest.model import Event, State

FLUSH_MAX: Final = (
    32  # so that others are read and answered meanwhile: one flush of all makes loop and database take turns
)
WAITING_MAX: Final = 5000  # beyond this the database is not keeping up, and Stripe's retries are the better queue
ANSWER_DEADLINE_SECONDS: Final = 4.5
BUSY_MIN: Final = 16  # requests at once; Stripe's ordinary traffic is one or two

log = structlog.get_logger(__name__)
Batch = list[tuple[Event, "asyncio.Future[bool]"]]


@dataclass(slots=True)
class Ingest:
    """Group commit without a timer: while one flush is at the database the next requests gather, and the next flush
    takes whatever waits. A lone request waits for nobody; a thousand share a commit."""

    outbox: Outbox
    source: str = "webhook"
    _waiting: Batch = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _due: "deque[tuple[float, asyncio.Future[bool]]]" = field(default_factory=deque)
    _timer: asyncio.TimerHandle | None = None
    _flushing: int = 0

    @property
    def busy(self) -> bool:
        """Whether a burst is being answered."""
        return len(self._waiting) + self._flushing >= BUSY_MIN

    async def accept(self, event: Event) -> bool:
        """Return once the event is durable: True when it is new, False when it was known.

        Raises:
            Retryable: the database is away; nothing is promised, Stripe will send again.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise Retryable("database_unavailable", "Too many events are waiting.", retry_after_seconds=5)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((event, future))
        self._wake.set()
        while self._due and self._due[0][1].done():
            self._due.popleft()
        self._due.append((loop.time() + ANSWER_DEADLINE_SECONDS, future))
        if self._timer is None:
            self._timer = loop.call_at(self._due[0][0], self._expire, loop)
        return await future

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer those that waited too long. One timer for all: one for each would cost as much as its event's SQL."""
        now = loop.time()
        while self._due and (self._due[0][0] <= now or self._due[0][1].done()):
            _fail(self._due.popleft()[1], TimeoutError())
        self._timer = loop.call_at(self._due[0][0], self._expire, loop) if self._due else None

    async def run(self, stopping: asyncio.Event) -> None:
        """Flush until `stopping` and nothing waits."""
        stop = asyncio.ensure_future(stopping.wait())
        while True:
            if not self._waiting:
                if stopping.is_set():
                    break
                self._wake.clear()
                wake = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({wake, stop}, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
                continue
            await self._flush_all()

    async def _flush_all(self) -> None:
        """Flush until nothing waits, over one connection: to give it back and take it again is a round trip."""
        batch = self._take()
        try:
            async with acquire(self.outbox.pool) as connection:
                while batch:
                    await self._flush(connection, batch)
                    batch = self._take()
        except Exception as error:
            if not is_unavailable(error):
                raise
            for _, future in batch:
                _fail(future, error)
        finally:
            self._flushing = 0

    def _take(self) -> Batch:
        batch, self._waiting = self._waiting[:FLUSH_MAX], self._waiting[FLUSH_MAX:]
        self._flushing = len(batch)
        return batch

    async def _flush(self, connection: Connection, batch: Batch) -> None:
        try:
            await self._store(connection, batch)
        except Exception as error:
            if is_unavailable(error):
                raise
            if len(batch) > 1:
                log.error("ingest.batch_split", error=type(error).__name__, size=len(batch))
                for one in batch:  # one event that the database refuses must not cost the others their answer
                    await self._flush(connection, [one])
            else:
                log.exception("ingest.not_stored", event_id=batch[0][0].event_id)
                _fail(batch[0][1], error)

    async def _store(self, connection: Connection, batch: Batch) -> None:
        events = {event.event_id: event for event, _ in batch}
        messages = [(event.event_id, message_of(event)) for event in events.values() if event.state is State.PROCESSED]
        fresh = await store.store_events(connection, list(events.values()), messages, source=self.source)
        failpoint("ingest_after_commit")
        for event, future in batch:
            is_new = event.event_id in fresh
            fresh.discard(event.event_id)
            if not future.done():
                future.set_result(is_new)
        metrics.WEBHOOK_FLUSH_SIZE.observe(len(batch))
        if messages:
            self.outbox.wake.set()


def _fail(future: "asyncio.Future[bool]", error: BaseException) -> None:
    if not future.done():
        retryable = Retryable("database_unavailable", "The event could not be stored.")
        retryable.__cause__ = error
        future.set_exception(retryable)


def message_of(event: Event) -> OutboxRow:
    """The message of an event. Its id and time come from the event alone: a second storing would say the same."""
    assert event.created is not None  # noqa: S101 - classify() sets it for every event that is processed
    envelope = Envelope(
        id=derived_id("stripe", event.account or "", event.event_id),
        source="payments/webhook-ingest",
        type=message_type(event.type),
        subject=f"stripe_event/{event.event_id}",
        time=event.created,
        partitionkey=event.partition_key,
        livemode=bool(event.livemode),
        correlationid=event.order_id,
    )
    return outbox_row(envelope, event.raw)
