"""The relay publishes everything once it is stored, gives way to callers, and never for long."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import aiormq
import asyncpg
import pytest
import pytest_asyncio
import structlog.testing

from payments_shared.clock import monotonic_seconds
from payments_shared.contracts.catalog import CATALOG
from payments_shared.contracts.checkout import OrderExpired, OrderUnheld
from payments_shared.ids import new_id
from payments_shared.messaging import Broker, Outbox, Relay, outbox, pipeline
from payments_shared.messaging import publisher as publisher_module
from payments_shared.messaging.publisher import Publisher
from payments_shared.messaging.topology import EVENTS_EXCHANGE
from payments_shared.postgres import open_pool
from payments_shared.provision import Provisioned, provision
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers
from tests.shared.messaging import administrator
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
NAME = "relay_" + secrets.token_hex(3)
UNHEARD = "order.held.v1"
FORBIDDEN = "refund.succeeded.v1"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    """A deployment whose only program is the relay of checkout, with the queues of all who hear it."""
    provisioned = await provision(
        admin_dsn=servers.admin_dsn, management_url=servers.management_url, amqp_url=servers.amqp_url,
        database=NAME, vhost=NAME, prefix=f"{NAME}_",
    )  # fmt: skip
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

    async def say_to_nobody(self, *, attempts: int) -> None:
        """A message that no queue takes, and that was tried so often before."""
        await self.owner.execute(
            """INSERT INTO checkout.outbox (day, message_id, type, routing_key, partition_key, body, attempts)
               VALUES (current_date, $1, $2, $2 || '.b00', 'k', '{}', $3)""",
            new_id(), UNHEARD, attempts,
        )  # fmt: skip
        self.outbox.wake.set()

    async def say_what_is_forbidden(self) -> None:
        """A message that the broker lets nobody publish from here."""
        await self.owner.execute(
            """INSERT INTO checkout.outbox (day, message_id, type, routing_key, partition_key, body)
               VALUES (current_date, $1, $2, $2 || '.b00', 'k', '{}')""",
            new_id(), FORBIDDEN,
        )  # fmt: skip
        self.outbox.wake.set()

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


async def test_once_no_caller_waits_the_rest_goes_out_at_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.outbox.busy = lambda: True
    monkeypatch.setattr(outbox, "GIVE_WAY_SECONDS", 30.0)
    await running.say(200)

    async def begun() -> bool:
        return await running.unpublished() < 200

    await eventually(begun, what="a first batch")
    assert await running.unpublished() > 0
    running.outbox.busy = lambda: False

    assert await rest(running) < 15.0, "the pause for the callers would have taken thirty"


async def test_what_waited_too_long_goes_out_though_callers_wait(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.outbox.busy = lambda: True
    monkeypatch.setattr(outbox, "GIVE_WAY_SECONDS", 1.0)
    monkeypatch.setattr(outbox, "GIVE_WAY_MAX_SECONDS", 1.5)
    await running.say(1500)

    assert await rest(running) < 8.0, "at one batch of a hundred a second it would take fifteen"


@pytest.mark.parametrize("attempts", [0, 2000])
async def test_a_message_that_nobody_takes_is_deferred_for_at_most_a_minute_and_holds_up_no_other(
    servers: Servers, made: Provisioned, running: Running, attempts: int
) -> None:
    """After 1024 attempts, seventeen hours, the power of two was no double any more and ended the process for ever."""
    async with administrator(servers, made) as admin:
        for hearer in CATALOG[UNHEARD].hearers:
            await (await admin.get_queue(f"{hearer}.events")).unbind(EVENTS_EXCHANGE, f"{UNHEARD}.*")
    await running.say_to_nobody(attempts=attempts)
    await running.say(3)

    async def deferred() -> "asyncpg.Record | None":
        sql = """SELECT last_error, extract(epoch FROM available_at - now())::float8 AS seconds FROM checkout.outbox
                  WHERE published_at IS NULL AND attempts = $1"""
        return await running.owner.fetchrow(sql, attempts + 1)

    row = await eventually(deferred, what="the message is deferred")
    assert row is not None
    assert row["last_error"] == "unroutable"
    assert row["seconds"] <= outbox.BACKOFF_MAX_SECONDS

    async def others_said() -> bool:
        return await running.unpublished() == 1

    await eventually(others_said, what="the others are said")
    await running.owner.execute("DELETE FROM checkout.outbox WHERE published_at IS NULL")


async def test_a_message_over_which_the_broker_closes_the_channel_holds_up_no_other(running: Running) -> None:
    """It closed the channel each time, before anything behind it was confirmed: the outbox stood still for good."""
    await running.say(60)
    await running.say_what_is_forbidden()
    await running.say(700)

    async def only_it_is_left() -> bool:
        return await running.unpublished() == 1

    with structlog.testing.capture_logs() as logs:
        await eventually(only_it_is_left, within_seconds=30, what="the others are said")
    connected = sum(entry["event"] == "amqp.connected" for entry in logs)
    assert connected <= 4, "not once for each message before it"
    last_error = await running.owner.fetchval(
        "DELETE FROM checkout.outbox WHERE published_at IS NULL RETURNING last_error"
    )
    assert last_error == "refused"


async def test_messages_for_a_queue_that_confirms_nothing_hold_up_no_other(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue without a majority of its replicas takes messages and never says a word; the channel lives on."""
    monkeypatch.setattr(publisher_module, "CONFIRM_TIMEOUT_SECONDS", 0.5)
    mute, publish_parcels = OrderExpired.TYPE, pipeline.publish_parcels

    async def publish_with_some_unanswered(
        channel: aiormq.Channel, parcels: Sequence[pipeline.Parcel], *, timeout_seconds: float
    ) -> list[pipeline.Confirmation]:
        confirmations = await publish_parcels(channel, parcels, timeout_seconds=timeout_seconds)
        return [
            _never() if parcel.routing_key.startswith(mute) else confirmation
            for parcel, confirmation in zip(parcels, confirmations, strict=False)
        ]

    monkeypatch.setattr(publisher_module, "publish_parcels", publish_with_some_unanswered)
    await running.say(outbox.BATCH_MAX + 20)
    async with running.outbox.transaction() as tx:
        for _ in range(5):
            tx.announce(OrderUnheld(order_id=new_id()))

    async def others_said() -> bool:
        return await running.unpublished() == outbox.BATCH_MAX + 20

    await eventually(others_said, within_seconds=30, what="what other queues take is said")
    monkeypatch.undo()
    await running.owner.execute("UPDATE checkout.outbox SET available_at = now() WHERE published_at IS NULL")
    await rest(running)


def _never() -> pipeline.Confirmation:
    confirmation: pipeline.Confirmation = asyncio.get_running_loop().create_future()
    confirmation.cancel()
    return confirmation
