"""The outbox: a message commits with the change that it announces, and the relay publishes it afterwards."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from payments_shared import metrics, tracing
from payments_shared.clock import monotonic_seconds, utc_now
from payments_shared.contracts.message import Message
from payments_shared.failpoints import failpoint
from payments_shared.ids import new_id
from payments_shared.messaging.connection import wait_first
from payments_shared.messaging.envelope import Envelope, encode, routing_key
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.topology import EVENTS_EXCHANGE
from payments_shared.postgres import Connection, Pool, acquire, is_unavailable, open_connection

BATCH_MAX: Final = 500
POLL_SECONDS: Final = 0.1
STANDBY_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 60
GIVE_WAY_BATCH: Final = 25
GIVE_WAY_SECONDS: Final = 0.2
CALM_STEP_SECONDS: Final = 0.02
CALM_STEPS: Final = 2  # a burst takes a breath between two of its commits
GIVE_WAY_MAX_SECONDS: Final = 5.0  # a message never waits longer than this for the sake of requests

# The fault of the message, or of a queue that it needs: it is tried again later, so that the others get their turn.
_DEFERRED: Final = (Outcome.UNROUTABLE, Outcome.NACKED, Outcome.REFUSED, Outcome.UNANSWERED)

log = structlog.get_logger(__name__)

_INSERT: Final = """
INSERT INTO outbox (day, message_id, type, routing_key, partition_key, correlation_id, headers, body, available_at)
SELECT day, message_id, type, routing_key, partition_key, correlation_id, '{}', body, coalesce(available_at, now())
  FROM unnest($1::date[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[],
              $8::timestamptz[])
       WITH ORDINALITY AS added (day, message_id, type, routing_key, partition_key, correlation_id, body,
                                 available_at, position)
 ORDER BY position
"""

# The clock is a function of 2 us, and is read once, not for each row.
_READY: Final = """
SELECT day, message_id, type, routing_key, correlation_id, body,
       extract(epoch FROM now() - created_at)::float8 AS age_seconds
  FROM outbox
 WHERE shard = $1 AND published_at IS NULL AND available_at <= (SELECT business_now())
 ORDER BY seq
 LIMIT $2
"""

_MARK: Final = """
UPDATE outbox AS o
   SET published_at = now()
  FROM unnest($1::date[], $2::uuid[]) AS done (day, message_id)
 WHERE o.day = done.day AND o.message_id = done.message_id
"""

# A message that no queue takes must not block the others, and must not be forgotten either. The exponent has a bound of
# its own: two to the power of 1024 is no double, and would end the relay for ever.
_DEFER: Final = """
UPDATE outbox AS o
   SET attempts = o.attempts + 1,
       last_error = failed.reason,
       available_at = now() + make_interval(secs => least(power(2, least(o.attempts, 6)), $4))
  FROM unnest($1::date[], $2::uuid[], $3::text[]) AS failed (day, message_id, reason)
 WHERE o.day = failed.day AND o.message_id = failed.message_id
"""

# A message that was delayed on purpose is as old as the time since it fell due; failures move available_at too.
_BACKLOG: Final = """
SELECT count(*) AS depth,
       greatest(extract(epoch FROM now() - min(
           CASE WHEN attempts = 0 THEN greatest(created_at, available_at) ELSE created_at END
       )), 0)::float8 AS oldest_seconds
  FROM outbox
 WHERE shard = $1 AND published_at IS NULL AND available_at <= (SELECT business_now())
"""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message ready to be stored. `available_at` None means at once; otherwise it is on the business clock."""

    day: date
    message_id: UUID
    type: str
    routing_key: str
    partition_key: str
    correlation_id: str | None
    body: bytes
    available_at: datetime | None = None


@dataclass(slots=True)
class Transaction:
    """An open transaction together with what it will announce.

    `cause` is the message being handled, None when the start was an HTTP request or a sweeper.
    """

    connection: Connection
    source: str
    livemode: bool
    cause: Envelope | None = None
    correlation: str | None = None
    rows: list[OutboxRow] = field(default_factory=list)

    def announce(self, message: Message, *, available_at: datetime | None = None, sequence: int | None = None) -> UUID:
        """Publish `message` at least once after this transaction commits, and return its id.

        Nothing is sent when the transaction rolls back. `available_at` delays it, on the business clock.
        """
        inherited = self.cause.correlationid if self.cause else None
        correlation = message.correlation() or self.correlation or inherited
        envelope = Envelope(
            id=new_id(),
            source=self.source,
            type=message.TYPE,
            subject=message.subject(),
            time=utc_now(),
            partitionkey=message.partition_key(),
            livemode=self.livemode,
            sequence=sequence,
            correlationid=correlation,
            causationid=self.cause.cause_of_others if self.cause else None,
            traceparent=tracing.current_traceparent(),
        )
        self.rows.append(outbox_row(envelope, message.model_dump_json().encode(), available_at=available_at))
        return envelope.id

    def take(self, other: "Transaction") -> None:
        """Move what `other`, over the same connection, announced behind what this one did."""
        self.rows += other.rows
        other.rows = []

    async def flush(self) -> int:
        """Write what was announced so far in one statement and return how many; called before commit."""
        rows, self.rows = self.rows, []
        await append(self.connection, rows)
        return len(rows)


def outbox_row(envelope: Envelope, data: bytes, *, available_at: datetime | None = None) -> OutboxRow:
    """The row of a message whose data is already JSON."""
    return OutboxRow(
        day=envelope.day,
        message_id=envelope.id,
        type=envelope.type,
        routing_key=routing_key(envelope.type, envelope.partitionkey),
        partition_key=envelope.partitionkey,
        correlation_id=envelope.correlationid,
        body=encode(envelope, data),
        available_at=available_at,
    )


async def append(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Write `rows` inside `connection`'s transaction. They are published after commit, in this order."""
    if not rows:
        return
    await connection.execute(
        _INSERT,
        [row.day for row in rows],
        [row.message_id for row in rows],
        [row.type for row in rows],
        [row.routing_key for row in rows],
        [row.partition_key for row in rows],
        [row.correlation_id for row in rows],
        [row.body for row in rows],
        [row.available_at for row in rows],
    )


class Outbox:
    """The outbox of one service: opens transactions, and wakes the relay when one has committed.

    `busy` answers whether callers wait for this process at this moment: the relay then publishes slowly, since a caller
    waits for an answer and a stored message does not. By default nobody does.
    """

    def __init__(self, pool: Pool, *, service: str, livemode: bool = False) -> None:
        self.pool = pool
        self.service = service
        self.livemode = livemode
        self.busy: Callable[[], bool] = lambda: False
        self.wake = asyncio.Event()

    @contextlib.asynccontextmanager
    async def transaction(self, *, correlation: str | None = None) -> AsyncIterator[Transaction]:
        """One transaction from HTTP or a sweeper: commits at the end of the block, rolls back on any error."""
        async with acquire(self.pool) as connection:
            async with connection.transaction():
                tx = self.open(connection, correlation=correlation)
                yield tx
                await tx.flush()
                failpoint("before_commit")
            failpoint("after_commit")
        self.wake.set()

    def open(
        self, connection: Connection, *, cause: Envelope | None = None, correlation: str | None = None
    ) -> Transaction:
        """A `Transaction` over a transaction that the caller began; the caller flushes, commits and wakes."""
        return Transaction(connection, f"payments/{self.service}", self.livemode, cause, correlation)


class Relay:
    """Publishes the outbox. One works per shard, held by an advisory lock; further instances stand by.

    While `held` answers True nothing is published: somebody who should hear it would miss it. By default it never is.
    """

    def __init__(self, outbox: Outbox, publisher: Publisher, *, dsn: str, schema: str, shard: int = 0) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._dsn = dsn
        self._schema = schema
        self._shard = shard
        self._oldest_seconds = 0.0
        self.held: Callable[[], bool] = lambda: False

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until `stopping`, through every outage of database and broker."""
        while not stopping.is_set():
            try:
                await self._hold_shard(stopping)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("outbox.database_unavailable", error=type(error).__name__)
            await wait_first(stopping, timeout_seconds=STANDBY_SECONDS)

    async def _hold_shard(self, stopping: asyncio.Event) -> None:
        connection = await open_connection(
            self._dsn, schema=self._schema, application_name=f"{self._outbox.service}-relay"
        )
        try:
            # The lock belongs to this session: when the process dies, the server frees it and a standby goes on.
            lock = f"outbox:{self._schema}:{self._shard}"
            if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", lock):
                return
            log.info("outbox.shard_held", shard=self._shard)
            while not stopping.is_set():
                self._outbox.wake.clear()
                gives_way = self._outbox.busy() and self._oldest_seconds < GIVE_WAY_MAX_SECONDS
                if not self._may_publish():
                    await wait_first(stopping, timeout_seconds=POLL_SECONDS)
                elif not await self.publish_batch(connection, limit=GIVE_WAY_BATCH if gives_way else BATCH_MAX):
                    await wait_first(stopping, self._outbox.wake, timeout_seconds=POLL_SECONDS)
                elif gives_way:
                    await self._give_way(stopping)
        finally:
            await _close(connection)

    async def _give_way(self, stopping: asyncio.Event) -> None:
        """Rest for the callers' sake, and no longer than there are any: a short burst delays messages shortly."""
        until, calm = monotonic_seconds() + GIVE_WAY_SECONDS, 0
        while calm < CALM_STEPS and monotonic_seconds() < until and not stopping.is_set():
            await wait_first(stopping, timeout_seconds=CALM_STEP_SECONDS)
            calm = 0 if self._outbox.busy() else calm + 1

    def _may_publish(self) -> bool:
        return self._publisher.ready and not self.held()

    async def publish_batch(self, connection: "asyncpg.Connection[asyncpg.Record]", *, limit: int = BATCH_MAX) -> int:
        """Publish the oldest waiting messages, holding no transaction meanwhile; return how many were confirmed."""
        rows = await connection.fetch(_READY, self._shard, limit)
        self._oldest_seconds = 0.0
        if not rows:
            return 0
        self._oldest_seconds = rows[0]["age_seconds"]
        failpoint("relay_before_publish")
        outcomes = await self._publisher.publish_many([_outgoing(row) for row in rows])
        failpoint("relay_after_publish_before_mark")
        confirmed = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is Outcome.CONFIRMED]
        if confirmed:
            await connection.execute(_MARK, [r["day"] for r in confirmed], [r["message_id"] for r in confirmed])
            failpoint("relay_after_mark")
        failed = [
            (row["day"], row["message_id"], outcome.value)
            for row, outcome in zip(rows, outcomes, strict=True)
            if outcome in _DEFERRED
        ]
        if failed:
            days, ids, reasons = (list(column) for column in zip(*failed, strict=True))
            await connection.execute(_DEFER, days, ids, reasons, BACKOFF_MAX_SECONDS)
        return len(confirmed)

    async def drain(self, *, timeout_seconds: float = 5.0) -> None:
        """One last pass at shutdown: what is left afterwards stays stored for the next start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                connection = await open_connection(
                    self._dsn, schema=self._schema, application_name=f"{self._outbox.service}-relay"
                )
                try:
                    lock = f"outbox:{self._schema}:{self._shard}"
                    if await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", lock):
                        while self._may_publish() and await self.publish_batch(connection):
                            pass
                finally:
                    await _close(connection)

    async def measure(self) -> None:
        """Set the gauges of depth and age."""
        async with acquire(self._outbox.pool) as connection:
            row = await connection.fetchrow(_BACKLOG, self._shard)
        if row is not None:
            metrics.OUTBOX_DEPTH.set(row["depth"])
            metrics.OUTBOX_OLDEST_SECONDS.set(row["oldest_seconds"])


def _outgoing(row: Any) -> Outgoing:  # Any: asyncpg.Record has untyped columns
    return Outgoing(
        message_id=row["message_id"],
        type=row["type"],
        exchange=EVENTS_EXCHANGE,
        routing_key=row["routing_key"],
        body=row["body"],
        correlation_id=row["correlation_id"],
    )


async def _close(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    try:
        await connection.close(timeout=2)
    except Exception as error:
        if not is_unavailable(error):
            raise
        connection.terminate()
