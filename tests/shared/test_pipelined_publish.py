"""A batch leaves in one write, and still the fate of each message is known by itself."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aio_pika
import pytest_asyncio

from payments_shared.ids import new_id
from payments_shared.messaging import Broker
from payments_shared.messaging.pipeline import CHUNK
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from sandbox.services.resolver import Servers


@dataclass(frozen=True, slots=True)
class Line:
    """A publisher, and a queue that takes what is sent under `routed`."""

    publisher: Publisher
    exchange: str
    queue: aio_pika.abc.AbstractQueue

    def message(self, body: bytes = b"{}", *, key: str = "routed") -> Outgoing:
        return Outgoing(message_id=new_id(), type="test.v1", exchange=self.exchange, routing_key=key, body=body)

    async def bodies(self, count: int) -> list[bytes]:
        """The next `count` messages of the queue."""
        found = []
        for _ in range(count):
            message = await self.queue.get(no_ack=True, timeout=5)
            assert message is not None
            found.append(message.body)
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def line(servers: Servers) -> AsyncIterator[Line]:
    """On the servers' own vhost, with names of its own that vanish with the connection."""
    name = f"test.{secrets.token_hex(4)}"
    publisher = Publisher(Broker(servers.amqp_url, service="payments"))
    stopping = asyncio.Event()
    keeping = asyncio.ensure_future(publisher.link.keep(stopping))
    async with await aio_pika.connect(servers.amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, auto_delete=True)
        queue = await channel.declare_queue(name, exclusive=True)
        await queue.bind(exchange, "routed")
        await asyncio.wait_for(publisher.link.ready.wait(), timeout=10)
        yield Line(publisher, name, queue)
        stopping.set()
        await keeping
        await publisher.link.close()


async def test_a_batch_of_several_writes_arrives_whole_and_in_order(line: Line) -> None:
    bodies = [b"%d" % number for number in range(CHUNK * 3 + 7)]

    outcomes = await line.publisher.publish_many([line.message(body) for body in bodies])

    assert outcomes == [Outcome.CONFIRMED] * len(bodies)
    assert await line.bodies(len(bodies)) == bodies


async def test_a_message_that_no_queue_takes_is_told_apart_from_its_neighbours(line: Line) -> None:
    batch = [line.message(key="nowhere" if number in (1, CHUNK + 1) else "routed") for number in range(CHUNK + 3)]

    outcomes = await line.publisher.publish_many(batch)

    assert [n for n, outcome in enumerate(outcomes) if outcome is Outcome.UNROUTABLE] == [1, CHUNK + 1]
    assert outcomes.count(Outcome.CONFIRMED) == CHUNK + 1


async def test_a_message_that_a_queue_refuses_is_told_apart_from_one_that_no_queue_takes(
    line: Line, servers: Servers
) -> None:
    async with await aio_pika.connect(servers.amqp_url) as connection:
        channel = await connection.channel()
        narrow = await channel.declare_queue(
            exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await narrow.bind(line.exchange, "narrow")

        one_by_one = [await line.publisher.publish(line.message(key="narrow")) for _ in range(3)]
        batch = await line.publisher.publish_many([line.message(), line.message(key="narrow")])

    assert one_by_one == [Outcome.CONFIRMED, Outcome.NACKED, Outcome.NACKED]
    assert batch == [Outcome.CONFIRMED, Outcome.NACKED]


async def test_a_body_larger_than_a_frame_arrives_whole(line: Line) -> None:
    large = secrets.token_bytes(400_000)

    outcomes = await line.publisher.publish_many([line.message(b"before"), line.message(large), line.message(b"after")])

    assert outcomes == [Outcome.CONFIRMED] * 3
    assert await line.bodies(3) == [b"before", large, b"after"]


async def test_the_same_message_twice_at_once_is_sent_once(line: Line) -> None:
    message = line.message()

    together = await line.publisher.publish_many([message, message])
    apart = await asyncio.gather(line.publisher.publish(message), line.publisher.publish(message))

    assert together == [Outcome.CONFIRMED, Outcome.UNKNOWN]
    assert sorted(apart) == [Outcome.CONFIRMED, Outcome.UNKNOWN]
    assert len(await line.bodies(2)) == 2


async def test_a_batch_that_is_given_up_in_the_middle_leaves_the_channel_in_step(line: Line) -> None:
    """The broker counts publishes: one number too many, and every later confirmation would be another's."""
    for _ in range(10):
        batch = [line.message() for _ in range(CHUNK * 4)]
        leaving = asyncio.ensure_future(line.publisher.publish_many(batch))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

        mixed = await line.publisher.publish_many([line.message(), line.message(key="nowhere"), line.message()])

        assert mixed == [Outcome.CONFIRMED, Outcome.UNROUTABLE, Outcome.CONFIRMED]


async def test_what_was_on_its_way_when_the_channel_closed_is_unknown(line: Line) -> None:
    lost = [Outgoing(new_id(), "test.v1", "no.such.exchange", "routed", b"{}"), line.message()]

    outcomes = await line.publisher.publish_many(lost)

    assert outcomes == [Outcome.UNKNOWN, Outcome.UNKNOWN]
    await asyncio.wait_for(line.publisher.link.ready.wait(), timeout=10)
