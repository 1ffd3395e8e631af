"""The messaging half of a service inside the test's own process, on real servers."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import aio_pika
import asyncpg

from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import schema_name
from payments_shared.contracts.message import Message
from payments_shared.ids import new_id
from payments_shared.messaging import Binding, Envelope, Outbox
from payments_shared.messaging.breaker import Dependency
from payments_shared.messaging.drain import Messaging, start_messaging
from payments_shared.messaging.envelope import encode, routing_key
from payments_shared.messaging.publisher import Outcome, Outgoing
from payments_shared.messaging.topology import EVENTS_EXCHANGE
from payments_shared.metrics import REGISTRY
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.provision import Provisioned, provision
from payments_shared.settings import ServiceSettings
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers
from tests.support.deadline import eventually

RETRY_TIERS_MS = (50, 100)


@contextlib.asynccontextmanager
async def provisioned(servers: Servers) -> AsyncIterator[Provisioned]:
    """A deployment in which no program runs and none ever did; removed at the end."""
    name = "bare_" + secrets.token_hex(4)
    yield await provision(
        admin_dsn=servers.admin_dsn, management_url=servers.management_url, amqp_url=servers.amqp_url,
        database=name, vhost=name, prefix=f"{name}_", retry_tiers_ms=RETRY_TIERS_MS, template=servers.template,
    )  # fmt: skip
    await remove_deployment(servers, namespace=name, prefix=f"{name}_")


@dataclass(slots=True)
class Half:
    """What runs of one service."""

    service: str
    made: Provisioned
    outbox: Outbox
    messaging: Messaging
    owner: "asyncpg.Connection[asyncpg.Record]"

    async def announce(self, *messages: Message) -> None:
        """Say `messages` through the outbox."""
        async with self.outbox.transaction() as tx:
            for message in messages:
                tx.announce(message)

    async def say(self, message: Message) -> None:
        """Say `message` past the outbox, and wait for the confirm."""
        publisher = self.messaging.publisher
        envelope = Envelope(
            id=new_id(), source=f"payments/{self.service}", type=message.TYPE, subject=message.subject(),
            time=utc_now(), partitionkey=message.partition_key(),
        )  # fmt: skip
        body = encode(envelope, message.model_dump_json().encode())
        key = routing_key(envelope.type, envelope.partitionkey)
        sent = await publisher.publish(Outgoing(envelope.id, envelope.type, EVENTS_EXCHANGE, key, body))
        assert sent is Outcome.CONFIRMED

    async def unpublished(self) -> int:
        sql = f"SELECT count(*) FROM {schema_name(self.service)}.outbox WHERE published_at IS NULL"
        return int(await self.owner.fetchval(sql))


@contextlib.asynccontextmanager
async def half_of(
    service: str,
    made: Provisioned,
    *,
    events: Sequence[Binding] = (),
    work: Sequence[Binding] = (),
    needs: Sequence[Dependency] = (),
) -> AsyncIterator[Half]:
    """The messaging half of `service`, started as a service starts it and drained at the end without a failure."""
    process = Process(service, drain_seconds=15)
    settings = ServiceSettings(
        database_url=made.database_urls[service],
        amqp_url=made.amqp_urls[service],
        management_url=made.management_urls[service],
        retry_tiers_ms=RETRY_TIERS_MS,
    )
    schema = schema_name(service)
    pool = await open_pool(made.database_urls[service], schema=schema, application_name=f"test-{service}")
    process.on_drain("pool", pool.close)
    outbox = Outbox(pool, service=service)
    owner = await asyncpg.connect(made.owner_database_url)
    messaging = await start_messaging(
        process, settings, outbox=outbox, schema=schema, events=events, work=work, needs=needs
    )
    try:
        yield Half(service, made, outbox, messaging, owner)
    finally:
        await process.drain()
        await owner.close()
    assert not process.failed


async def consuming(half: Half) -> None:
    """Wait until each consumer has its place at the broker."""

    async def all_active() -> bool:
        return all(consumer.active for consumer in half.messaging.consumers)

    await eventually(all_active, within_seconds=60, what=f"the consumers of {half.service}")


def metric(name: str, **labels: str) -> float:
    """What this process counted; of several samples, their sum."""
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@contextlib.asynccontextmanager
async def administrator(servers: Servers, made: Provisioned) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """A channel that may do everything in the deployment's vhost."""
    connection = await aio_pika.connect(servers.amqp_url.rpartition("/")[0] + "/" + made.vhost)
    async with connection:
        yield await connection.channel()


async def waiting(channel: aio_pika.abc.AbstractChannel, queue: str) -> int:
    """How many messages wait in `queue`."""
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0
