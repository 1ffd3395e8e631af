"""The relay publishes everything once it is stored, gives way to callers, and never for long."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aio_pika
import asyncpg
import pytest
import pytest_asyncio

from payments_shared.clock import monotonic_seconds
from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import new_id
from payments_shared.messaging import Broker, Outbox, Relay, outbox
from payments_shared.messaging.publisher import Publisher
from payments_shared.messaging.topology import Topology, declare
from payments_shared.postgres import open_pool
from payments_shared.provision import Provisioned, provision
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
NAME = "relay_" + secrets.token_hex(3)
HEARERS = ("inventory", "notifications", "operations")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    """A deployment whose only program is the relay of checkout, with the queues of those who hear it."""
    provisioned = await provision(
        admin_dsn=servers.admin_dsn, management_url=servers.management_url, amqp_url=servers.amqp_url,
        database=NAME, vhost=NAME, prefix=f"{NAME}_",
    )  # fmt: skip
    for service in HEARERS:
        connection = await aio_pika.connect(provisioned.amqp_urls[service])
        async with connection:
            await declare(await connection.channel(), Topology.of(service))
    yield provisioned
    await remove_deployment(servers, namespace=NAME, prefix=f"{NAME}_")


@dataclass(slots=True)
class Running:
    """Checkout's outbox and its relay."""

    outbox: Outbox
    owner: "asyncpg.Connection[asyncpg.Record]"

    async def say(self, count: int) -> None:
        async with self.outbox.transaction() as tx:
            for _ in range(count):
                tx.announce(OrderExpired(order_id=new_id()))

    async def unpublished(self) -> int:
        return int(await self.owner.fetchval("SELECT count(*) FROM checkout.outbox WHERE published_at IS NULL"))


@pytest_asyncio.fixture(loop_scope="session")
async def running(made: Provisioned) -> AsyncIterator[Running]:
    dsn = made.database_urls["checkout"]
    pool = await open_pool(dsn, schema="checkout", application_name="test")
    box = Outbox(pool, service="checkout")
    publisher = Publisher(Broker(made.amqp_urls["checkout"], service="checkout"))
    relay = Relay(box, publisher, dsn=dsn, schema="checkout")
    stopping = asyncio.Event()
    owner = await asyncpg.connect(made.owner_database_url)
    tasks = [asyncio.create_task(one) for one in (publisher.link.keep(stopping), relay.run(stopping))]
    await asyncio.wait_for(publisher.link.ready.wait(), timeout=10)
    yield Running(box, owner)
    stopping.set()
    await asyncio.gather(*tasks)
    with contextlib.suppress(OSError):
        await publisher.link.close()
    await owner.close()
    await pool.close()


async def rest(running: Running) -> float:
    started = monotonic_seconds()

    async def done() -> bool:
        return await running.unpublished() == 0

    await eventually(done, within_seconds=20, what="an empty outbox")
    return monotonic_seconds() - started


async def test_nobody_waits_and_everything_goes_out_at_once(running: Running) -> None:
    await running.say(1000)

    assert await rest(running) < 3.0


async def test_while_callers_wait_the_relay_goes_slowly_and_stops_for_nothing(running: Running) -> None:
    running.outbox.busy = lambda: True
    await running.say(450)

    seconds = await rest(running)

    assert seconds >= 3 * outbox.GIVE_WAY_SECONDS, "it gave way between its batches"


async def test_what_waited_too_long_goes_out_though_callers_wait(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.outbox.busy = lambda: True
    monkeypatch.setattr(outbox, "GIVE_WAY_SECONDS", 1.0)
    monkeypatch.setattr(outbox, "GIVE_WAY_MAX_SECONDS", 1.5)
    await running.say(1500)

    assert await rest(running) < 8.0, "at one batch of a hundred a second it would take fifteen"
