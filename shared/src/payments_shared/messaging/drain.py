"""The messaging half of a running service: everything is started here, and stopped in the order that loses nothing.

On SIGTERM: take no more deliveries, finish those begun, give the rest back, publish what they announced, close.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
import asyncpg
import structlog

from payments_shared import metrics
from payments_shared.messaging import inbox, topology
from payments_shared.messaging.binding import Binding
from payments_shared.messaging.breaker import Dependency
from payments_shared.messaging.connection import Broker, wait_first
from payments_shared.messaging.consumer import Consumer
from payments_shared.messaging.outbox import Outbox, Relay
from payments_shared.messaging.publisher import Publisher
from payments_shared.messaging.topology import Topology
from payments_shared.postgres import acquire, is_unavailable
from payments_shared.process import Process
from payments_shared.settings import ServiceSettings

MEASURE_SECONDS = 5.0
TOPOLOGY_CHECK_SECONDS = 60.0
HEARERS_CHECK_SECONDS = 10.0
PARTITIONS_SECONDS = 3600.0
SOON_SECONDS = 0.5

log = structlog.get_logger(__name__)
Check = Callable[[], Awaitable[str | None]]


@dataclass(slots=True)
class Messaging:
    """What runs, for readiness: each check answers None, or what is wrong.

    `lacking` is what the service's own queues lack at the broker, `unheard` what those of its hearers do. `awaited` is
    what nobody has looked for since the start, be it in vain: a management API that was never there holds nobody back
    for long, and one that went away leaves what was seen last.
    """

    publisher: Publisher
    consumers: tuple[Consumer, ...]
    lacking: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)
    awaited: set[Literal["own queues", "hearers"]] = field(default_factory=set)

    def checks(self) -> Mapping[str, Check]:
        """Readiness checks of broker, consumers and topology."""
        return {"broker": self._broker, "consumers": self._consumers, "topology": self._topology}

    def work_rested_within(self, seconds: float) -> bool:
        """Whether commands wait for something that is away, or did so in the last `seconds`."""
        return any(one.breaker.rested_within(seconds) for one in self.consumers if one.queue.endswith(".work"))

    async def _broker(self) -> str | None:
        if not self.publisher.connected:
            return "not connected for publishing"
        return "held back by an alarm at the broker" if self.publisher.held_back else None

    async def _consumers(self) -> str | None:
        idle = [consumer.queue for consumer in self.consumers if consumer.subscription.missing]
        return f"not consuming {', '.join(idle)}" if idle else None

    async def _topology(self) -> str | None:
        if self.awaited:
            return f"nobody has looked for {' and '.join(sorted(self.awaited))} yet"
        return "; ".join((*self.lacking, *self.unheard)) or None

    async def look_for_own(self, management_url: str, vhost: str, wanted: Topology) -> None:
        """See what the broker has of our own queues, and declare again what is gone."""
        before = tuple(self.lacking)
        try:
            self.lacking[:] = await topology.missing(management_url, vhost, wanted)
        finally:
            self.awaited.discard("own queues")
        if self.lacking:
            if tuple(self.lacking) != before:
                log.warning("topology.lacking", what=self.lacking)
            for consumer in self.consumers[:1]:  # each declares the whole topology of the service
                await consumer.subscription.declare_again()

    async def look_for_hearers(self, management_url: str, vhost: str, service: str) -> None:
        """See whether all who should hear the service have their queues bound."""
        before = tuple(self.unheard)
        try:
            self.unheard[:] = await topology.unheard(management_url, vhost, service)
        finally:
            self.awaited.discard("hearers")
        if tuple(self.unheard) != before:
            (log.error if self.unheard else log.info)("topology.unheard", what=self.unheard)

    def nobody_would_miss(self) -> bool:
        """Whether what is said now reaches all who should hear it, as far as we know."""
        return "hearers" not in self.awaited and not self.unheard


async def start_messaging(
    process: Process,
    settings: ServiceSettings,
    *,
    outbox: Outbox,
    schema: str,
    events: Sequence[Binding] = (),
    work: Sequence[Binding] = (),
    needs: Sequence[Dependency] = (),
) -> Messaging:
    """Start the relay and, where there are bindings, the consumers of `S.events` and `S.work`. Both rest while the
    database is away, and `S.work` also while one of `needs` is.

    The partitions of today are made first, so that no row lands among the other days; beyond one try at that, a broker
    or database that is away is waited for in the background.
    """
    await _try_partitions(outbox, schema)
    broker = Broker(settings.amqp_url.get_secret_value(), service=outbox.service)
    publisher = Publisher(broker)
    dsn = settings.database_url.get_secret_value()
    relay = Relay(outbox, publisher, dsn=dsn, schema=schema)
    kinds: tuple[tuple[Literal["events", "work"], Sequence[Binding], Sequence[Dependency]], ...] = (
        ("events", events, ()),
        ("work", work, needs),
    )
    consumers = tuple(
        Consumer(
            broker=broker,
            publisher=publisher,
            outbox=outbox,
            bindings=bindings,
            queue=queue,
            retry_tiers_ms=settings.retry_tiers_ms,
            batch_max=settings.batch_max,
            needs=called,
        )
        for queue, bindings, called in kinds
        if bindings
    )
    running = Messaging(publisher, consumers)

    process.on_drain("publish-link", publisher.link.close)
    process.on_drain("outbox", relay.drain)
    for consumer in consumers:
        process.on_drain(f"{consumer.queue}-link", consumer.subscription.link.close)

    process.background("publish-link", lambda: publisher.link.keep(process.stopping))
    process.background("relay", lambda: relay.run(process.stopping))
    process.background("measure", lambda: _every(MEASURE_SECONDS, relay.measure, process.stopping))
    process.background("partitions", lambda: _keep_partitions(outbox, schema, process.stopping))
    if consumers:
        metrics.from_zero(metrics.RETRIES_PUBLISHED, tier=map(str, settings.retry_tiers_ms))
        metrics.from_zero(metrics.DEAD_LETTERS_PUBLISHED)
    for consumer in consumers:
        _start_consumer(process, consumer)
    if settings.management_url is not None:
        relay.held = lambda: not running.nobody_would_miss()
        _watch_topology(process, running, settings.management_url.get_secret_value(), broker, settings.retry_tiers_ms)
    return running


def _watch_topology(
    process: Process, running: Messaging, url: str, broker: Broker, retry_tiers_ms: Sequence[int]
) -> None:
    """Look soon again while something lacks: those who have just started may not have declared it yet."""

    async def hearers() -> None:
        await running.look_for_hearers(url, broker.vhost, broker.service)

    def every(seconds: float, look: Callable[[], Awaitable[None]], found: list[str]) -> Callable[[], Awaitable[None]]:
        return lambda: _every(seconds, look, process.stopping, sooner=lambda: bool(found))

    running.awaited.add("hearers")
    process.background("hearers", every(HEARERS_CHECK_SECONDS, hearers, running.unheard))
    if running.consumers:
        running.awaited.add("own queues")
        wanted = Topology.of(broker.service, retry_tiers_ms)

        async def own() -> None:
            await running.look_for_own(url, broker.vhost, wanted)

        process.background("topology", every(TOPOLOGY_CHECK_SECONDS, own, running.lacking))


def _start_consumer(process: Process, consumer: Consumer) -> None:
    process.background(f"{consumer.queue}-link", lambda: consumer.subscription.link.keep(process.stopping))
    process.background(f"{consumer.queue}-watch", lambda: consumer.subscription.watch(process.stopping))
    process.background(consumer.queue, lambda: consumer.run(process.stopping))


async def keep_partitions(outbox: Outbox, schema: str) -> None:
    """Make the partitions of the coming days and drop the oldest. What the database warns of is an error in our log:
    a day that stays among the other days is whole and works, only it is not dropped with its time."""

    def heard(_: object, message: "asyncpg.PostgresLogMessage") -> None:
        log.error("partitions.day_skipped", schema=schema, detail=str(message))

    async with acquire(outbox.pool) as connection:
        connection.add_log_listener(heard)
        try:
            await connection.execute("SELECT payments.keep_partitions($1, $2)", schema, inbox.RETENTION_DAYS)
        finally:
            connection.remove_log_listener(heard)


async def _try_partitions(outbox: Outbox, schema: str) -> None:
    try:
        await keep_partitions(outbox, schema)
    except Exception as error:
        if not is_unavailable(error):
            raise
        log.warning("partitions.not_yet", error=type(error).__name__)


async def _keep_partitions(outbox: Outbox, schema: str, stopping: asyncio.Event) -> None:
    await _every(PARTITIONS_SECONDS, lambda: keep_partitions(outbox, schema), stopping)


async def _every(
    seconds: float,
    job: Callable[[], Awaitable[None]],
    stopping: asyncio.Event,
    *,
    sooner: Callable[[], bool] = lambda: False,
) -> None:
    soon = SOON_SECONDS / 2
    while not stopping.is_set():
        try:
            await job()
        except Exception as error:
            if not is_unavailable(error) and not isinstance(error, aiohttp.ClientError):
                raise
            log.warning("job.dependency_unavailable", error=type(error).__name__)
            await wait_first(stopping, timeout_seconds=min(seconds, 2.0))
            continue
        soon = min(soon * 2, seconds) if sooner() else SOON_SECONDS / 2
        await wait_first(stopping, timeout_seconds=soon if sooner() else seconds)
