"""Store each event once, many in one commit."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from operator import itemgetter
from typing import Final
from uuid import UUID

import structlog

from payments_shared import metrics, tracing
from payments_shared.clock import utc_now
from payments_shared.contracts.stripe import message_type
from payments_shared.errors import Retryable
from payments_shared.failpoints import failpoint
from payments_shared.ids import derived_id
from payments_shared.messaging import Envelope, Outbox
from payments_shared.messaging.envelope import head, routing_key
from payments_shared.postgres import Connection, acquire, is_unavailable
from payments_shared.strict_json import MalformedJson, strict_json_loads
from webhook_ingest import store
from webhook_ingest.decide import classify, outcome, unusable
from webhook_ingest.model import Event, Outcome, Policy, State
from webhook_ingest.store import Said

FLUSH_MAX: Final = (
    32  # so that others are read and answered meanwhile: one flush of all makes loop and database take turns
)
TURN_BYTES: Final = 128 * 1024  # read in one turn of the loop: a flush of ordinary events is half of it
WAITING_MAX: Final = 5000  # beyond this the database is not keeping up, and Stripe's retries are the better queue
TICK_SECONDS: Final = 0.25
ANSWER_TICKS: Final = 18  # 4.25 to 4.5 s: a request must not hang, and a commit that takes longer may come too late
BUSY_MIN: Final = 16  # requests at once; Stripe's ordinary traffic is one or two

log = structlog.get_logger(__name__)
_OUTCOMES: Final = {name: metrics.WEBHOOK_EVENTS.labels(name.value) for name in Outcome}
NOTHING: Final = Said()
_TRACE_OF: Final = itemgetter(3)
Batch = list[tuple[bytes, "asyncio.Future[None]", int, str | None]]  # body, answer, the tick at which it came, trace
Read = tuple[Event, "asyncio.Future[None]", str | None]


@dataclass(slots=True)
class Ingest:
    """Group commit without a timer: while one flush is at the database the next requests gather, and the next flush
    takes whatever waits. A lone request waits for nobody; a thousand share a commit.

    Bodies are read when they are flushed: many in a row cost half of what each costs between other work.
    """

    outbox: Outbox
    policy: Policy
    source: str = "webhook"
    _waiting: Batch = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _flushing: Batch = field(default_factory=list)
    _tick: int = 0
    _ticking: bool = False

    @property
    def busy(self) -> bool:
        """Whether a burst is being answered."""
        return len(self._waiting) + len(self._flushing) >= BUSY_MIN

    async def accept(self, body: bytes) -> None:
        """Return once the event in `body`, which is Stripe's, is durable. What cannot be read is kept as it is.

        Raises:
            Retryable: the database is away; nothing is promised, Stripe will send again.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise Retryable("database_unavailable", "Too many events are waiting.", retry_after_seconds=5)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future, self._tick, tracing.current_traceparent()))
        self._wake.set()
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._expire)
        await future

    def _expire(self) -> None:
        """Answer those that waited too long. One timer for all: one for each would cost as much as its event's SQL."""
        self._tick += 1
        outstanding = self._flushing + self._waiting
        for _, future, since, _ in outstanding:
            if self._tick - since >= ANSWER_TICKS:
                _fail(future, TimeoutError())
        self._ticking = bool(outstanding)
        if self._ticking:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._expire)

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
            for _, future, _, _ in batch:
                _fail(future, error)
        finally:
            self._flushing = []

    def _take(self) -> Batch:
        batch, self._waiting = self._waiting[:FLUSH_MAX], self._waiting[FLUSH_MAX:]
        self._flushing = batch
        return batch

    async def _flush(self, connection: Connection, batch: Batch) -> None:
        try:
            with tracing.doing("store events", batch, _TRACE_OF):
                await self._store(connection, batch)
        except Exception as error:
            if is_unavailable(error):
                raise
            if len(batch) > 1:
                log.error("ingest.batch_split", error=type(error).__name__, size=len(batch))
                for one in batch:  # one event that the database refuses must not cost the others their answer
                    await self._flush(connection, [one])
            else:
                with tracing.continued(batch[0][3]):
                    log.exception("ingest.not_stored", bytes=len(batch[0][0]))
                _fail(batch[0][1], error)

    async def _store(self, connection: Connection, batch: Batch) -> None:
        today = utc_now().date()
        alike: dict[tuple[object, ...], list[Read]] = {}
        in_this_turn = 0
        for body, future, _, trace in batch:
            in_this_turn += len(body)
            if in_this_turn > TURN_BYTES:
                in_this_turn = len(body)
                await asyncio.sleep(0)  # large bodies, one after the other, would keep everybody waiting
            if not future.done():
                event = read(body, self.policy, today)
                key = (event.day, event.livemode, event.account, event.api_version)
                alike.setdefault(key, []).append((event, future, trace))
        for group in alike.values():  # mostly one
            await self._store_alike(connection, group)
        metrics.WEBHOOK_FLUSH_SIZE.observe(len(batch))

    async def _store_alike(self, connection: Connection, group: "list[Read]") -> None:
        different = {event.event_id: (event, trace) for event, _, trace in group}
        events = [event for event, _ in different.values()]
        messages = [message_of(event, trace) for event, trace in different.values()]
        failpoint("ingest_before_commit")
        fresh = await store.store_events(connection, events, messages, source=self.source)
        failpoint("ingest_after_commit")
        counts: Counter[Outcome] = Counter()
        for event, future, trace in group:
            if not future.done():
                future.set_result(None)
            is_new = event.event_id in fresh
            counts[outcome(event, self.policy) if is_new else Outcome.DUPLICATE] += 1
            fresh.discard(event.event_id)
            if event.state is State.DEAD and is_new:
                with tracing.continued(trace):
                    log.error("webhook.dead", event_id=event.event_id, reason=event.reason)
        for name, count in counts.items():
            _OUTCOMES[name].inc(count)
        if any(message.head for message in messages):
            self.outbox.wake.set()


def read(body: bytes, policy: Policy, today: date) -> Event:
    """The event in a body that Stripe signed, usable or not."""
    try:
        value = strict_json_loads(body)
    except MalformedJson as error:
        return unusable(body, str(error), today)
    return classify(value, body, policy, today)


def _fail(future: "asyncio.Future[None]", error: BaseException) -> None:
    if not future.done():
        retryable = Retryable("database_unavailable", "The event could not be stored.")
        retryable.__cause__ = error
        future.set_exception(retryable)


def message_id(account: str | None, event_id: str) -> UUID:
    """The id of an event's message."""
    return derived_id("stripe", account or "", event_id)


def message_of(event: Event, traceparent: str | None) -> Said:
    """The message of an event. Its id and time come from the event alone: a second storing would say the same. Its
    trace is that of the request that brought it, where spans are recorded."""
    if event.state is not State.PROCESSED:
        return NOTHING
    assert event.created is not None  # noqa: S101 - classify() sets it for every event that is processed
    envelope = Envelope(
        id=message_id(event.account, event.event_id),
        source="payments/webhook-ingest",
        type=message_type(event.type),
        subject=f"stripe_event/{event.event_id}",
        time=event.created,
        partitionkey=event.partition_key,
        livemode=bool(event.livemode),
        correlationid=event.order_id,
        traceparent=traceparent if tracing.recorder is not None else None,
    )
    return Said(str(envelope.id), routing_key(envelope.type, envelope.partitionkey), head(envelope))
