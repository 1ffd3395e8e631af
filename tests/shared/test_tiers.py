"""Waiting for another try: no tier holds up another, no other service sees a copy, and nothing is dropped on the way."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from uuid import UUID

import aio_pika
import pytest
import pytest_asyncio

from payments_shared.contracts.checkout import OrderExpired
from payments_shared.errors import Retryable
from payments_shared.ids import new_id
from payments_shared.messaging import Broker, Transaction, on
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.recoverability import REPLAY_ID
from payments_shared.messaging.topology import DELIVERY_LIMIT, RETURN_EXCHANGE, QueueSpec, Topology, retry_exchange
from payments_shared.provision import Provisioned, provision
from sandbox.services.rabbitmq_server import DEAD_LETTERED_AGAIN_MS
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers
from tests.shared.messaging import administrator, consuming, half_of, metric, provisioned, waiting
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
SHORT_MS, LONG_MS = 200, 600_000


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


@pytest_asyncio.fixture(loop_scope="session")
async def far_apart(servers: Servers) -> AsyncIterator[Provisioned]:
    """A deployment with a tier that is over at once, and one that outlasts the test."""
    name = "tiers_" + secrets.token_hex(4)
    yield await provision(
        admin_dsn=servers.admin_dsn, management_url=servers.management_url, amqp_url=servers.amqp_url,
        database=name, vhost=name, prefix=f"{name}_", retry_tiers_ms=(SHORT_MS, LONG_MS),
    )  # fmt: skip
    await remove_deployment(servers, namespace=name, prefix=f"{name}_")


async def test_a_short_wait_is_over_while_a_thousand_long_ones_wait_before_it(
    servers: Servers, far_apart: Provisioned
) -> None:
    publisher = Publisher(Broker(far_apart.amqp_urls["refunds"], service="refunds"))
    stopping = asyncio.Event()
    keeping = asyncio.create_task(publisher.link.keep(stopping))
    await asyncio.wait_for(publisher.link.ready.wait(), timeout=20)

    def message(tier_ms: int) -> Outgoing:
        return Outgoing(new_id(), "t.v1", retry_exchange(tier_ms), "refunds.events", b"{}")

    async with administrator(servers, far_apart) as admin:
        long = await publisher.publish_many([message(LONG_MS) for _ in range(1000)])
        short = await publisher.publish(message(SHORT_MS))
        assert (set(long), short) == ({Outcome.CONFIRMED}, Outcome.CONFIRMED)

        async def back() -> bool:
            return await waiting(admin, "refunds.events") == 1

        await eventually(back, within_seconds=60, what="the short wait is over")
        assert await waiting(admin, f"refunds.retry.{LONG_MS}") == 1000
        for other in ("checkout", "inventory", "fulfillment", "notifications", "operations"):
            assert await waiting(admin, f"{other}.events") == 0, "no other service sees a copy"
    stopping.set()
    await keeping
    await publisher.link.close()


async def test_a_message_that_died_by_the_brokers_count_survives_a_replay_and_a_tier_after_it(
    servers: Servers, made: Provisioned
) -> None:
    """What the broker wrote on it, copied, made it look like a cycle: it was dropped when the tier gave it back."""
    heard_of: list[UUID] = []
    order, waited_before = new_id(), metric("payments_retries_published_total")

    async def hear(_: Transaction, message: OrderExpired) -> None:
        if metric("payments_retries_published_total") == waited_before:
            raise Retryable("not_yet", "Not before it has waited in a tier.")
        heard_of.append(message.order_id)

    async with administrator(servers, made) as admin:
        async with half_of("checkout", made) as checkout:
            await checkout.announce(OrderExpired(order_id=order))

            async def said() -> bool:
                return await waiting(admin, "inventory.events") == 1

            await eventually(said, within_seconds=60, what="the message")
        letter = await _kill(admin, "inventory.events", "inventory.dlq")
        assert letter.headers["x-first-death-reason"] == "delivery_limit"

        async with half_of("inventory", made, events=[on(OrderExpired, hear)]) as inventory:
            await consuming(inventory)
            stopping = asyncio.Event()
            operations = Publisher(Broker(made.amqp_urls["operations"], service="operations"))
            keeping = asyncio.create_task(operations.link.keep(stopping))
            await asyncio.wait_for(operations.link.ready.wait(), timeout=20)
            careless = {**letter.headers, REPLAY_ID: str(new_id())}  # with all that the broker wrote
            sent = await operations.publish(
                Outgoing(
                    UUID(letter.message_id),
                    str(letter.type),
                    RETURN_EXCHANGE,
                    "inventory.events",
                    letter.body,
                    careless,
                )
            )

            async def heard() -> bool:
                known = "SELECT count(*) FROM inventory.inbox WHERE message_id = $1"
                return bool(await inventory.owner.fetchval(known, UUID(letter.message_id)) == 1)

            assert sent is Outcome.CONFIRMED
            await eventually(heard, within_seconds=60, what="the message takes effect after its tier")
            assert heard_of == [order]
            assert metric("payments_retries_published_total") == waited_before + 1
            stopping.set()
            await keeping
            await operations.link.close()
        assert await waiting(admin, "inventory.dlq") == 0


async def _kill(admin: aio_pika.abc.AbstractChannel, queue: str, dead: str) -> aio_pika.abc.AbstractIncomingMessage:
    """Fail every delivery of the only message until the broker gives it up; the dead letter."""
    taken, died = await admin.get_queue(queue, ensure=False), await admin.get_queue(dead, ensure=False)
    for _ in range(DELIVERY_LIMIT + 1):

        async def delivered() -> aio_pika.abc.AbstractIncomingMessage | None:
            return await taken.get(fail=False)

        message = await eventually(delivered, within_seconds=60, what="another delivery")
        assert message is not None
        await message.reject(requeue=True)

    async def letter() -> aio_pika.abc.AbstractIncomingMessage | None:
        return await died.get(no_ack=True, fail=False)

    found = await eventually(letter, within_seconds=60, what="the dead letter")
    assert found is not None
    return found


async def test_a_message_that_found_no_way_back_is_soon_tried_again(servers: Servers, far_apart: Provisioned) -> None:
    """As after a broker's start, when a tier may be at work before the broker knows all bindings again."""
    key = "fulfillment.events"
    async with administrator(servers, far_apart) as admin:
        queue = await admin.get_queue(key, ensure=False)
        tier = await admin.get_exchange(retry_exchange(SHORT_MS), ensure=False)
        await queue.unbind(RETURN_EXCHANGE, key)
        await tier.publish(aio_pika.Message(b"{}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT), routing_key=key)
        await asyncio.sleep(2 * SHORT_MS / 1000)
        assert await waiting(admin, key) == 0
        await queue.bind(RETURN_EXCHANGE, key)

        async def came_back() -> bool:
            return await waiting(admin, key) == 1

        again = 2 * DEAD_LETTERED_AGAIN_MS / 1000
        await eventually(came_back, within_seconds=again, what="the way of `deploy/rabbitmq/advanced.config`")


@pytest.mark.parametrize("service", ["checkout", "refunds", "inventory"])
def test_no_queue_may_lose_a_message_on_its_way_to_another(service: str) -> None:
    """Said once by hand: without any of these the broker drops in silence what it cannot hand on."""
    safe = {"x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}

    def shown(spec: QueueSpec, names: dict[str, object]) -> dict[str, object]:
        return {name: spec.arguments.get(name) for name in names}

    for spec in Topology.of(service).queues:
        kind = spec.name.split(".")[1]
        if kind == "dlq":
            assert spec.arguments == {
                "x-queue-type": "quorum", "x-delivery-limit": 1_000_000, "x-overflow": "reject-publish",
            }  # fmt: skip
            continue
        assert shown(spec, dict(safe)) == safe, spec.name
        assert spec.arguments["x-dead-letter-exchange"] == ("pay.return" if kind == "retry" else "pay.dlx")
        if kind == "retry":
            assert spec.arguments["x-message-ttl"] == int(spec.name.rpartition(".")[2])
            assert "x-dead-letter-routing-key" not in spec.arguments, "the key names the queue to return to"
        else:
            assert spec.arguments["x-delivery-limit"] == 20
            assert spec.arguments["x-dead-letter-routing-key"] == service
        assert "x-max-length" not in spec.arguments, "one full queue would refuse what all others have taken"
