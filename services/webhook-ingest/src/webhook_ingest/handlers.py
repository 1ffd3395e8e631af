"""Store each event once, many in one commit."""

import asyncio
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
from payments_shared.postgres import acquire, is_unavailable
from webhook_ingest import store
from webhook_ingest.model import Event, State

FLUSH_MAX: Final = 200
WAITING_MAX: Final = 5000  # beyond this the database is not keeping up, and Stripe's retries are the better queue
ANSWER_DEADLINE_SECONDS: Final = 4.5

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Ingest:
    """Group commit without a timer: while one flush is at the database the next requests gather, and the next flush
    takes whatever waits. A lone request waits for nobody; a thousand share a commit."""

    outbox: Outbox
    source: str = "webhook"
    _waiting: list[tuple[Event, "asyncio.Future[bool]"]] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def accept(self, event: Event) -> bool:
        """Return once the event is durable: True when it is new, False when it was known.

        Raises:
            Retryable: the database is away; nothing is promised, Stripe will send again.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise Retryable("database_unavailable", "Too many events are waiting.", retry_after_seconds=5)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        self._wake.set()
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_SECONDS):
                return await future
        except TimeoutError as error:
            raise Retryable("database_unavailable", "The event could not be stored in time.") from error

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
            batch, self._waiting = self._waiting[:FLUSH_MAX], self._waiting[FLUSH_MAX:]
            await self._flush(batch)

    async def _flush(self, batch: list[tuple[Event, "asyncio.Future[bool]"]]) -> None:
        try:
            await self._store(batch)
        except Exception as error:
            if is_unavailable(error):
                for _, future in batch:
                    _fail(future, error)
            elif len(batch) > 1:
                log.error("ingest.batch_split", error=type(error).__name__, size=len(batch))
                for one in batch:  # one event that the database refuses must not cost the others their answer
                    await self._flush([one])
            else:
                log.exception("ingest.not_stored", event_id=batch[0][0].event_id)
                _fail(batch[0][1], error)

    async def _store(self, batch: list[tuple[Event, "asyncio.Future[bool]"]]) -> None:
        events = {event.event_id: event for event, _ in batch}
        messages = [(event.event_id, message_of(event)) for event in events.values() if event.state is State.PROCESSED]
        async with acquire(self.outbox.pool) as connection:
            fresh = await store.store_events(connection, list(events.values()), messages, source=self.source)
        failpoint("ingest_after_commit")
        metrics.WEBHOOK_FLUSH_SIZE.observe(len(batch))
        if messages:
            self.outbox.wake.set()
        for event, future in batch:
            is_new = event.event_id in fresh
            fresh.discard(event.event_id)
            if not future.done():
                future.set_result(is_new)


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
