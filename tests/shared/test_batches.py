"""Batches: who decides about what together, in which order, and how the broker is told that they are done."""

import random
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import aio_pika
import pytest

from payments_shared.contracts import checkout, fulfillment
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import AboutOrder, Message
from payments_shared.ids import new_id
from payments_shared.messaging import Batch, Binding, Broker, Transaction, on, together
from payments_shared.messaging.connection import underlay
from payments_shared.messaging.deciding import Decider
from payments_shared.messaging.delivery import Delivery, Incoming
from payments_shared.messaging.publisher import Publisher
from payments_shared.messaging.settling import Settler
from payments_shared.provision import Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import administrator, provisioned
from tests.support.both_ways import BothWays, both_ways, incoming
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers

FIRST, SECOND = (UUID(int=number) for number in (1, 2))


@pytest.fixture(scope="module")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    """A deployment in which nothing runs."""
    async with provisioned(servers) as found:
        yield found


@pytest.fixture(scope="module")
async def decisions(made: Provisioned) -> AsyncIterator[BothWays]:
    """Inventory's side of the database, for decisions of our own."""
    async with both_ways(made, "inventory") as ready:
        yield ready


class Heard:
    """Handlers that remember what they were given; one takes expiries and cancellations, another payments together."""

    def __init__(self) -> None:
        self.runs: list[list[Message]] = []

    async def alone(self, _: Transaction, message: Message) -> None:
        self.runs.append([message])

    async def many(self, batch: Batch[Message]) -> None:
        self.runs.append(list(batch.messages))

    @property
    def bindings(self) -> dict[str, Binding]:
        bound = (
            together(checkout.OrderPaid, self.many),
            together(checkout.OrderProcessing, self.many),
            on(checkout.OrderCanceled, self.alone),
        )
        return {binding.message_type: binding for binding in bound}

    def about(self, order_id: UUID) -> list[Message]:
        """What was heard of an order, in its order."""
        return [m for run in self.runs for m in run if isinstance(m, AboutOrder) and m.order_id == order_id]


def processing(order_id: UUID) -> checkout.OrderProcessing:
    return checkout.OrderProcessing(order_id=order_id)


def canceled(order_id: UUID) -> checkout.OrderCanceled:
    return checkout.OrderCanceled(order_id=order_id, reason="buyer")


async def test_what_one_handler_takes_together_comes_as_one_in_the_order_of_arrival(decisions: BothWays) -> None:
    heard = Heard()
    said = [processing(SECOND), processing(FIRST), processing(SECOND)]

    await Decider(decisions.outbox, heard.bindings).apply([incoming(message) for message in said])

    assert heard.runs == [said]


@pytest.mark.parametrize("seed", range(5))
async def test_each_aggregate_keeps_its_order_where_handlers_of_both_kinds_are_mixed(
    decisions: BothWays, seed: int
) -> None:
    heard, chance = Heard(), random.Random(seed)
    said = [chance.choice((processing, canceled))(chance.choice((FIRST, SECOND))) for _ in range(30)]

    await Decider(decisions.outbox, heard.bindings).apply([incoming(message) for message in said])

    for order_id in (FIRST, SECOND):
        assert heard.about(order_id) == [message for message in said if message.order_id == order_id]
    assert all(len({type(message) for message in run}) == 1 for run in heard.runs)


async def test_a_second_copy_in_a_batch_is_not_heard(decisions: BothWays) -> None:
    heard, message_id = Heard(), new_id()
    twins = [incoming(processing(FIRST), message_id=message_id) for _ in range(3)]

    outcomes = await Decider(decisions.outbox, heard.bindings).apply(twins)

    assert (len(heard.runs), outcomes) == (1, {message_id: "applied"})


async def test_what_is_said_together_names_its_own_cause(decisions: BothWays) -> None:
    async def answer(batch: Batch[checkout.OrderProcessing]) -> None:
        for tx, message in batch:
            lines = (StockLine(sku="MUG", quantity=1),)
            tx.announce(
                fulfillment.ShipmentCreated(order_id=message.order_id, shipment_id=message.order_id, lines=lines)
            )

    binding = together(checkout.OrderProcessing, answer)
    causes = [incoming(processing(new_id())) for _ in range(3)]
    await Decider(decisions.outbox, {binding.message_type: binding}).apply(causes)

    sql = "SELECT body FROM inventory.outbox WHERE partition_key = ANY($1) ORDER BY seq"
    rows = await decisions.owner.fetch(sql, [cause.envelope.partitionkey for cause in causes])
    assert [str(cause.envelope.id) in row["body"].decode() for cause, row in zip(causes, rows, strict=True)] == [
        True
    ] * 3


async def deliveries(
    servers: Servers, made: Provisioned, queue: str, count: int
) -> tuple[aio_pika.abc.AbstractConnection, list[Delivery]]:
    """`count` messages of a queue of their own, delivered and not acknowledged."""
    async with administrator(servers, made) as channel:
        await channel.declare_queue(queue, durable=True)
        for number in range(count):
            await channel.default_exchange.publish(aio_pika.Message(str(number).encode()), queue)
    connection = await aio_pika.connect(servers.amqp_url.rpartition("/")[0] + "/" + made.vhost)
    raw = await underlay(await connection.channel(publisher_confirms=False))
    taken: list[Delivery] = []

    async def receive(message: object) -> None:
        taken.append(Delivery(message, raw))  # type: ignore[arg-type]

    async def all_here() -> bool:
        return len(taken) == count

    await raw.basic_consume(queue, receive)
    await eventually(all_here, what="deliveries")
    return connection, taken


def settler(made: Provisioned) -> Settler:
    broker = Broker(made.amqp_urls["inventory"], service="inventory")
    return Settler("inventory", "inventory.events", Publisher(broker), {}, ())


def done(taken: Sequence[Delivery]) -> list[Incoming]:
    """As if these deliveries had been applied."""
    return [Incoming(delivery, incoming(processing(FIRST)).envelope, {}) for delivery in taken]


async def left_in(servers: Servers, made: Provisioned, queue: str) -> list[str]:
    """What the queue holds once nobody holds any of it."""
    async with administrator(servers, made) as channel:
        found = await channel.get_queue(queue)
        left: list[str] = []
        while (message := await found.get(fail=False)) is not None:
            left.append(message.body.decode())
            await message.ack()
        return left


async def test_a_batch_is_acknowledged_and_what_is_still_open_before_it_is_not(
    servers: Servers, made: Provisioned
) -> None:
    connection, taken = await deliveries(servers, made, "open-before", 6)
    settling = settler(made)
    settling.take(taken)

    batch = done(taken[2:5])
    await settling.acknowledge_together(batch, {one.envelope.id: "applied" for one in batch})
    await taken[0].channel.basic_qos()  # an answer to this comes after the acknowledgements
    await connection.close()

    assert await left_in(servers, made, "open-before") == ["0", "1", "5"]


async def test_a_batch_with_nothing_open_before_it_is_acknowledged_whole(servers: Servers, made: Provisioned) -> None:
    connection, taken = await deliveries(servers, made, "nothing-open", 6)
    settling = settler(made)
    settling.take(taken[:5])

    for part in (taken[:2], taken[2:5]):
        batch = done(part)
        await settling.acknowledge_together(batch, {one.envelope.id: "applied" for one in batch})
    await taken[0].channel.basic_qos()
    await connection.close()

    assert await left_in(servers, made, "nothing-open") == ["5"]
    assert set().union(*settling.unsettled.values()) == set()
