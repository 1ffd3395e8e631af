"""A broker that runs out of disk takes nothing: webhooks are answered, messages wait, and none is lost or sent on and on."""

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest

import aio_pika
import aiohttp
import asyncpg
import psutil
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from payments_shared.contracts.catalog import CATALOG
from payments_shared.contracts.notifications import DeliverMail, NotificationFailed
from payments_shared.ids import new_id
from payments_shared.messaging import Broker, Call, calls
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.stripe_client import STRIPE_VERSION
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers, private_servers
from tests.faults.broker import alarm
from tests.faults.evidence import NETWORK, keep
from tests.shared.messaging import half_of, provisioned
from tests.support.deadline import eventually

pytestmark = pytest.mark.faults
INGEST = "webhook-ingest"
TYPE = "checkout.session.expired"
BODY_BYTES = 20_000
WRITTEN_BYTES_MAX = 6_000_000  # what the sockets of both sides take, and one chunk
RSS_GROWTH_MAX = 50 * 2**20


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    """Servers that no other test needs."""
    with private_servers() as servers:
        yield servers


# -- webhook-ingest --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def ingest(own: Servers) -> AsyncIterator[Deployment]:
    """Webhook-ingest alone: what it says waits in the queues of those who would hear it."""
    async with deploy(own, namespace=f"alarm{secrets.token_hex(2)}", names=(INGEST,)) as running:
        yield running


def event() -> bytes:
    session = {"id": f"cs_{secrets.token_hex(8)}", "object": "checkout.session", "padding": "x" * BODY_BYTES}
    about = {
        "id": f"evt_{secrets.token_hex(12)}", "object": "event", "type": TYPE, "created": int(time.time()),
        "livemode": False, "api_version": STRIPE_VERSION, "pending_webhooks": 1, "request": None,
        "data": {"object": session},
    }  # fmt: skip
    return json.dumps(about).encode()


async def deliver(http: aiohttp.ClientSession, ingest: Deployment, body: bytes) -> int:
    moment = int(time.time())
    signature = digest(ingest.secrets["webhook"].encode(), f"{moment}.".encode() + body, sha256).hex()
    headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={moment},v1={signature}"}
    url = ingest.public_url(INGEST) + "/api/payments/webhook"
    async with http.post(url, data=body, headers=headers) as answer:
        return answer.status


async def metric(http: aiohttp.ClientSession, ingest: Deployment, name: str) -> float:
    async with http.get(ingest.internal_url(INGEST) + "/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)


async def copies(servers: Servers, ingest: Deployment, queue: str) -> "Counter[str]":
    """How often each event waits in `queue`, which is emptied."""
    found: Counter[str] = Counter()
    connection = await aio_pika.connect(servers.amqp_url.rpartition("/")[0] + "/" + ingest.provisioned.vhost)
    async with connection:
        channel = await connection.channel()
        taken = await channel.get_queue(queue)
        while (message := await taken.get(no_ack=True, fail=False)) is not None:
            found[json.loads(message.body)["data"]["id"]] += 1
    return found


async def webhooks_during_an_alarm(own: Servers, ingest: Deployment, *, seconds: float) -> str:
    """Webhooks before, during and after an alarm; each is answered, and said once to each hearer. What was seen."""
    process = psutil.Process(ingest.children[INGEST].pid)
    owner = await asyncpg.connect(ingest.provisioned.owner_database_url)
    sent: list[bytes] = []
    statuses: Counter[int] = Counter()

    async def unpublished() -> int:
        return int(await owner.fetchval("SELECT count(*) FROM webhook_ingest.outbox WHERE published_at IS NULL"))

    async def at_rest() -> bool:
        return await unpublished() == 0

    async with aiohttp.ClientSession() as http:

        async def send(count: int) -> None:
            bodies = [event() for _ in range(count)]
            statuses.update(await asyncio.gather(*(deliver(http, ingest, body) for body in bodies)))
            sent.extend(bodies)

        await send(100)
        await eventually(at_rest, what="everything said before the alarm")
        before = process.memory_info().rss
        async with alarm(own):
            started = time.monotonic()
            await send(50)

            async def blocked() -> bool:
                return await metric(http, ingest, "payments_amqp_blocked") == 1

            await eventually(blocked, within_seconds=10, what="the broker holds us back")
            while time.monotonic() - started < seconds:
                await send(50)
                await asyncio.sleep(1)
            growth = process.memory_info().rss - before
            waiting = await unpublished()
            unknown = await metric(http, ingest, "payments_publishes_total")
        await eventually(at_rest, within_seconds=20, what="everything said after the alarm")
    assert set(statuses) == {200}
    events = {json.loads(body)["id"] for body in sent}
    assert waiting > max(0, len(events) - 200)
    assert growth < RSS_GROWTH_MAX
    said: list[str] = []
    for hearer in sorted(CATALOG[f"stripe.{TYPE}"].hearers):
        found = await copies(own, ingest, f"{hearer}.events")
        surplus = found.total() - len(events)
        said.append(f"{hearer} {surplus} copies")
        assert set(found) == events, "each event is there"
        assert max(found.values()) <= 2, found.most_common(3)
        assert surplus <= 100, "only what was on its way when the alarm came is said twice"
    assert said, "nobody hears of it"
    await owner.close()
    return (
        f"{waiting} of {len(events)} events waited, {unknown:.0f} publishes before the end, {', '.join(said)},"
        f" RSS +{growth / 2**20:.0f} MiB"
    )


@pytest.mark.timeout(180)
async def test_webhooks_are_answered_during_an_alarm_and_each_event_is_said_after_it(
    own: Servers, ingest: Deployment, record_property: Callable[[str, object], None]
) -> None:
    found = await webhooks_during_an_alarm(own, ingest, seconds=5)

    record_property("struck", f"disk alarm 5 s, {found}")


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_an_alarm_three_times_as_long_as_a_publish_waits(
    own: Servers, ingest: Deployment, record_property: Callable[[str, object], None]
) -> None:
    found = await webhooks_during_an_alarm(own, ingest, seconds=35)

    keep("The broker's disk is full for 35 s, webhook-ingest alone", [found], document=NETWORK)
    record_property("struck", f"disk alarm 35 s, {found}")


# -- a publisher -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Line:
    """A publisher, and a queue that takes what it sends. `written` counts the bytes that left for any socket."""

    publisher: Publisher
    queue: str
    written: int = 0

    def batch(self, count: int) -> list[Outgoing]:
        return [Outgoing(new_id(), "test.v1", self.queue, "key", b"x" * BODY_BYTES) for _ in range(count)]

    async def publish(self, count: int) -> "Counter[Outcome]":
        return Counter(await self.publisher.publish_many(self.batch(count)))

    async def until(self, ready: bool) -> None:
        async def is_so() -> bool:
            return self.publisher.ready is ready

        await eventually(is_so, within_seconds=20, what=f"a publisher that is {'' if ready else 'not '}ready")


@pytest_asyncio.fixture(loop_scope="session")
async def line(own: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    name = f"test.{secrets.token_hex(4)}"
    publisher = Publisher(Broker(own.amqp_url, service="payments"))
    made = Line(publisher, name)
    write = asyncio.StreamWriter.write

    def counted(writer: asyncio.StreamWriter, data: bytes) -> None:
        made.written += len(data)
        write(writer, data)

    monkeypatch.setattr(asyncio.StreamWriter, "write", counted)
    monkeypatch.setattr("payments_shared.messaging.publisher.CONFIRM_TIMEOUT_SECONDS", 2.0)
    stopping = asyncio.Event()
    keeping = asyncio.ensure_future(publisher.link.keep(stopping))
    async with await aio_pika.connect(own.amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, auto_delete=True)
        await (await channel.declare_queue(name, exclusive=True)).bind(exchange, "key")
        await made.until(ready=True)
        yield made
        stopping.set()
        await keeping
        await publisher.link.close()


async def test_what_is_published_into_an_alarm_stays_small_and_the_connection_stays(own: Servers, line: Line) -> None:
    """The whole batch went into the transport's buffer, and again every ten seconds, on a connection that was blocked."""
    assert await line.publish(1) == {Outcome.CONFIRMED: 1}
    connection = line.publisher.link._connection

    async with alarm(own):
        before = line.written
        outcomes = await line.publish(500)
        assert outcomes[Outcome.UNKNOWN] > 400
        await line.until(ready=False)
        once = line.written - before
        print(f"{once} of {500 * BODY_BYTES} bytes written into the alarm")
        assert once < WRITTEN_BYTES_MAX
        assert await line.publish(500) == {Outcome.UNKNOWN: 500}
        assert line.written - before - once < 1000, "heartbeats at most"
        assert line.publisher.link._connection is connection

    await line.until(ready=True)
    assert await line.publish(500) == {Outcome.CONFIRMED: 500}
    assert line.publisher.link._connection is connection


async def test_a_new_connection_during_an_alarm_risks_one_message_alone(own: Servers, line: Line) -> None:
    """The broker tells a connection of the alarm once it has published; what lies behind that comes out as a copy."""
    async with alarm(own):
        line.publisher.link.lose()
        await line.until(ready=False)
        await line.until(ready=True)
        before = line.written
        outcomes = await line.publish(500)
        assert outcomes[Outcome.UNKNOWN] >= 499
        await line.until(ready=False)
        assert line.written - before < 2 * BODY_BYTES

    await line.until(ready=True)
    assert await line.publish(500) == {Outcome.CONFIRMED: 500}


async def test_a_connection_on_which_nothing_comes_back_is_given_up(own: Servers, line: Line) -> None:
    """A broker that hangs without an alarm."""
    assert own.rabbitmq is not None
    assert own.rabbitmq.child is not None
    node = psutil.Process(own.rabbitmq.child.pid)
    assert await line.publish(1) == {Outcome.CONFIRMED: 1}
    connection = line.publisher.link._connection
    node.suspend()
    try:
        outcomes = await line.publish(500)
        assert outcomes[Outcome.UNANSWERED] + outcomes[Outcome.UNKNOWN] == 500
        assert line.publisher.link._lost.is_set()
    finally:
        node.resume()

    async def anew() -> bool:
        return line.publisher.ready and line.publisher.link._connection is not connection

    await eventually(anew, within_seconds=30, what="another connection")


# -- a consumer ------------------------------------------------------------------------------------------------------


async def test_a_message_that_fails_during_an_alarm_waits_for_its_retry_and_spends_no_delivery(
    own: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given back each time its retry could not be published, and the twentieth time is a dead letter."""
    monkeypatch.setattr("payments_shared.messaging.publisher.CONFIRM_TIMEOUT_SECONDS", 1.0)
    begun, fail, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tries = 0

    async def deliver(call: Call, _: DeliverMail) -> None:
        nonlocal tries
        tries += 1
        begun.set()
        await fail.wait()
        if tries == 1:
            raise KeyError("a fault")
        async with call.conclude():
            done.set()

    async with (
        provisioned(own) as made,
        half_of("notifications", made, work=[calls(DeliverMail, deliver)]) as half,
    ):
        await half.announce(DeliverMail(mail_id=new_id(), kind="order_confirmation", ref="r", order_id=new_id()))
        await asyncio.wait_for(begun.wait(), timeout=20)
        async with alarm(own):
            await half.announce(NotificationFailed(mail_id=new_id(), kind="k", ref="r", order_id=new_id(), detail="d"))

            async def held_back() -> bool:
                return half.messaging.publisher.held_back

            await eventually(held_back, what="the broker holds us back")
            assert await half.messaging.checks()["broker"]() == "held back by an alarm at the broker"
            fail.set()
            for _ in range(50):  # long enough to be given back several times
                assert tries == 1
                await asyncio.sleep(0.1)
        await asyncio.wait_for(done.wait(), timeout=20)
    assert tries == 2
