"""The messaging half of a running service: everything is started here, and stopped in the order that loses nothing.

On SIGTERM: take no more deliveries, finish those begun, give the rest back, publish what they announced, close.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import aiohttp
import structlog

from payments_shared.messaging import topology
from payments_shared.messaging.binding import Binding
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
TOPOLOGY_RECHECK_SECONDS = 0.5
PARTITIONS_SECONDS = 3600.0
SOON_SECONDS = 0.5

log = structlog.get_logger(__name__)
Check = Callable[[], Awaitable[str | None]]


@dataclass(slots=True)
class Messaging:
    """What runs, for readiness: each check answers None, or what is wrong."""

    publisher: Publisher
    consumers: tuple[Consumer, ...]
    lacking: list[str]

    def checks(self) -> Mapping[str, Check]:
        """Readiness checks of broker, consumers and topology."""
        return {"broker": self._broker, "consumers": self._consumers, "topology": self._topology}

    async def _broker(self) -> str | None:
        return None if self.publisher.ready else "not connected for publishing"

    async def _consumers(self) -> str | None:
        idle = [consumer.queue for consumer in self.consumers if not consumer.active]
        return f"not consuming {', '.join(idle)}" if idle else None

    async def _topology(self) -> str | None:
        return "; ".join(self.lacking) or None


def start_messaging(
    process: Process,
    settings: ServiceSettings,
    *,
    outbox: Outbox,
    schema: str,
    events: Sequence[Binding] = (),
    work: Sequence[Binding] = (),
) -> Messaging:
    """Start the relay and, where there are bindings, the consumers of `S.events` and `S.work`.

    Returns at once; a broker or database that is away is waited for in the background.
    """
    broker = Broker(settings.amqp_url.get_secret_value(), service=outbox.service)
    publisher = Publisher(broker)
    dsn = settings.database_url.get_secret_value()
    relay = Relay(outbox, publisher, dsn=dsn, schema=schema)
    kinds: tuple[tuple[Literal["events", "work"], Sequence[Binding]], ...] = (("events", events), ("work", work))
    consumers = tuple(
        Consumer(
            broker=broker,
            publisher=publisher,
            outbox=outbox,
            bindings=bindings,
            queue=queue,
            retry_tiers_ms=settings.retry_tiers_ms,
        )
        for queue, bindings in kinds
        if bindings
    )
    running = Messaging(publisher, consumers, [])

    process.on_drain("publish-link", publisher.link.close)
    process.on_drain("outbox", relay.drain)
    for consumer in consumers:
        process.on_drain(f"{consumer.queue}-link", consumer.link.close)

    process.background("publish-link", lambda: publisher.link.keep(process.stopping))
    process.background("relay", lambda: relay.run(process.stopping))
    process.background("measure", lambda: _every(MEASURE_SECONDS, relay.measure, process.stopping))
    process.background("partitions", lambda: _keep_partitions(outbox, schema, process.stopping))
    for consumer in consumers:
        _start_consumer(process, consumer)
    if consumers and settings.management_url is not None:
        wanted = Topology.of(outbox.service, settings.retry_tiers_ms)
        url = settings.management_url.get_secret_value()

        async def check() -> None:
            running.lacking[:] = await topology.missing(url, broker.vhost, wanted)

        def lacking() -> bool:
            return bool(running.lacking)

        # The first look comes before the consumers have declared their queues: look again until all is there.
        process.background("topology", lambda: _every(TOPOLOGY_CHECK_SECONDS, check, process.stopping, sooner=lacking))
    return running


def _start_consumer(process: Process, consumer: Consumer) -> None:
    process.background(f"{consumer.queue}-link", lambda: consumer.link.keep(process.stopping))
    process.background(f"{consumer.queue}-watch", lambda: consumer.watch(process.stopping))
    process.background(consumer.queue, lambda: consumer.run(process.stopping))


async def _keep_partitions(outbox: Outbox, schema: str, stopping: asyncio.Event) -> None:
    async def keep() -> None:
        async with acquire(outbox.pool) as connection:
            await connection.execute("SELECT payments.keep_partitions($1)", schema)

    await _every(PARTITIONS_SECONDS, keep, stopping)


async def _every(
    seconds: float,
    job: Callable[[], Awaitable[None]],
    stopping: asyncio.Event,
    *,
    sooner: Callable[[], bool] = lambda: False,
) -> None:
    while not stopping.is_set():
        try:
            await job()
        except Exception as error:
            if not is_unavailable(error) and not isinstance(error, aiohttp.ClientError):
                raise
            log.warning("job.dependency_unavailable", error=type(error).__name__)
            await wait_first(stopping, timeout_seconds=min(seconds, 2.0))
            continue
        await wait_first(stopping, timeout_seconds=min(seconds, SOON_SECONDS) if sooner() else seconds)
