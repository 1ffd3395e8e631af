"""Whoever should hear a message has a queue for it before it is said, and while that lacks nothing is said."""

import asyncio
from collections.abc import AsyncIterator

import aio_pika
import pytest
import pytest_asyncio

from payments_shared.contracts.catalog import CATALOG, CONSUMERS, SERVICES
from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import new_id
from payments_shared.messaging import Transaction, drain, on, topology
from payments_shared.messaging.topology import EVENTS_EXCHANGE, Topology, declare
from payments_shared.provision import Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import RETRY_TIERS_MS, administrator, half_of, provisioned, waiting
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
HEARERS = sorted(CATALOG["order.expired.v1"].hearers)


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks look every fifth of a second."""
    monkeypatch.setattr(drain, "HEARERS_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(drain, "TOPOLOGY_CHECK_SECONDS", 0.2)


def expired(count: int) -> list[OrderExpired]:
    return [OrderExpired(order_id=new_id()) for _ in range(count)]


async def test_provisioning_makes_all_that_each_service_hears_and_says(made: Provisioned) -> None:
    """The first deployment's messages were lost to every service that came up late."""
    for service in CONSUMERS:
        wanted = Topology.of(service, RETRY_TIERS_MS)
        assert await topology.missing(made.management_urls[service], made.vhost, wanted) == []
    for service in SERVICES:
        assert await topology.unheard(made.management_urls[service], made.vhost, service) == []


async def test_what_is_said_before_a_hearer_ever_ran_waits_for_it(servers: Servers, made: Provisioned) -> None:
    async with half_of("checkout", made) as checkout, administrator(servers, made) as admin:
        await checkout.announce(*expired(3))

        async def all_wait() -> bool:
            return [await waiting(admin, f"{hearer}.events") for hearer in HEARERS] == [3] * len(HEARERS)

        await eventually(all_wait, what=f"three messages at each of {HEARERS}")


async def test_while_a_hearer_has_no_queue_nothing_is_said_and_then_everything(
    servers: Servers, made: Provisioned
) -> None:
    """Operations hears every fact: the broker confirms a message that inventory never gets."""
    async with half_of("checkout", made) as checkout, administrator(servers, made) as admin:
        await checkout.announce(*expired(1))

        async def said() -> bool:
            return await checkout.unpublished() == 0

        await eventually(said, what="everything said")
        await admin.queue_delete("inventory.events")
        ready = checkout.messaging.checks()["topology"]

        async def noticed() -> str | None:
            return await ready()

        reason = await eventually(noticed, what="the readiness check fails")
        assert reason is not None
        assert "queue inventory.events does not hear" in reason
        assert "order.expired.v1" in reason

        await checkout.announce(*expired(3))
        for _ in range(20):
            assert await checkout.unpublished() == 3, "said although inventory cannot hear it"
            await asyncio.sleep(0.05)

        owner = await aio_pika.connect(made.amqp_urls["inventory"])
        async with owner:
            await declare(await owner.channel(), Topology.of("inventory", RETRY_TIERS_MS))
        await eventually(said, what="everything said after all")
        assert await waiting(admin, "inventory.events") == 3
        assert await ready() is None


async def test_a_service_is_not_ready_before_it_has_looked_at_the_broker(made: Provisioned) -> None:
    """It was, for as long as the first look took, whatever there was to see."""

    async def hear(_: Transaction, message: OrderExpired) -> None:
        pass

    async with half_of("inventory", made, events=[on(OrderExpired, hear)]) as inventory:
        ready = inventory.messaging.checks()["topology"]
        assert await ready() == "nobody has looked for hearers and own queues yet"
        assert not inventory.messaging.nobody_would_miss()

        async def looked() -> bool:
            return await ready() is None

        await eventually(looked, what="all is as it should be")
        assert inventory.messaging.nobody_would_miss()


async def test_a_service_brings_back_a_binding_that_somebody_removed(servers: Servers, made: Provisioned) -> None:
    heard: list[OrderExpired] = []

    async def hear(_: Transaction, message: OrderExpired) -> None:
        heard.append(message)

    async with (
        half_of("inventory", made, events=[on(OrderExpired, hear)]) as inventory,
        half_of("checkout", made) as checkout,
        administrator(servers, made) as admin,
    ):

        async def consuming() -> bool:
            return all(consumer.active for consumer in inventory.messaging.consumers)

        await eventually(consuming, what="a consumer")
        queue = await admin.get_queue("inventory.events")
        await queue.unbind(EVENTS_EXCHANGE, "order.expired.v1.*")

        async def whole() -> bool:
            return not await topology.unheard(made.management_urls["checkout"], made.vhost, "checkout")

        await eventually(whole, what="the binding is back")
        await checkout.announce(*expired(2))

        async def all_heard() -> bool:
            return len(heard) == 2

        await eventually(all_heard, what="both messages")
