"""Whole days are dropped, never with something unsaid in them; and what is older than all days kept is not applied
by itself."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from payments_shared.clock import utc_now
from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import new_id
from payments_shared.messaging import Broker, Envelope, Transaction, drain, inbox, on
from payments_shared.messaging.envelope import encode, routing_key
from payments_shared.messaging.inbox import REMEMBERED_DAYS, RETENTION_DAYS, remembers
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.recoverability import REPLAY_ID, REPLAY_OF
from payments_shared.messaging.topology import EVENTS_EXCHANGE, RETURN_EXCHANGE
from payments_shared.provision import Provisioned
from payments_shared.sql import platform_sql
from sandbox.services.resolver import Servers
from tests.shared.messaging import administrator, consuming, half_of, provisioned, waiting
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
LONG_AGO = RETENTION_DAYS + 5


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


@pytest_asyncio.fixture(loop_scope="session")
async def owner(made: Provisioned) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(made.owner_database_url)
    yield connection
    await connection.close()


def days_ago(count: int) -> date:
    return utc_now().date() - timedelta(days=count)


async def old_day(owner: "asyncpg.Connection[asyncpg.Record]", table: str, day: date) -> str:
    """A partition as it was made when the day was near."""
    name = f"inventory.{table}_{day:%Y%m%d}"
    await owner.execute(
        f"CREATE TABLE {name} PARTITION OF inventory.{table} FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
    )
    return name


async def stands(owner: "asyncpg.Connection[asyncpg.Record]", name: str) -> bool:
    return bool(await owner.fetchval("SELECT to_regclass($1) IS NOT NULL", name))


async def test_old_days_are_dropped_and_a_day_with_something_unsaid_is_not(
    made: Provisioned, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    old, kept = days_ago(LONG_AGO), days_ago(RETENTION_DAYS - 1)
    inbox_old, inbox_kept = await old_day(owner, "inbox", old), await old_day(owner, "inbox", kept)
    outbox_old, outbox_unsaid = await old_day(owner, "outbox", old), await old_day(owner, "outbox", days_ago(60))
    await owner.execute(
        f"INSERT INTO {inbox_old} (day, message_id, handler, type) VALUES ($1, $2, 'inventory', 't')", old, uuid4()
    )
    # Nobody hears the type, so the running relay cannot say it.
    await owner.execute(
        f"""INSERT INTO {outbox_unsaid} (day, message_id, type, routing_key, partition_key, body, available_at)
            VALUES ($1, $2, 'no.such.v1', 'no.such.v1.b00', 'k', '{{}}', now() + interval '1 day')""",
        days_ago(60), uuid4(),
    )  # fmt: skip

    async with half_of("inventory", made) as half:
        assert not await stands(owner, inbox_old)
        assert not await stands(owner, outbox_old)
        assert await stands(owner, inbox_kept)
        assert await stands(owner, outbox_unsaid), "it holds what was not said"

        await owner.execute(f"UPDATE {outbox_unsaid} SET published_at = now()")
        await drain.keep_partitions(half.outbox, "inventory")
        assert not await stands(owner, outbox_unsaid)


def test_what_is_refused_as_forgotten_is_refused_before_its_day_is_dropped() -> None:
    today = date(2026, 3, 1)
    dropped_from = today - timedelta(days=RETENTION_DAYS + 1)  # as keep_partitions does: day < today - retention

    assert not remembers(dropped_from, today)
    assert not remembers(dropped_from + timedelta(days=1), today), "a day before, for clocks that differ"
    assert remembers(dropped_from + timedelta(days=2), today)


def test_what_the_audit_and_a_restore_look_at_is_kept_by_all_also_where_it_is_tomorrow() -> None:
    today = date(2026, 3, 1)
    oldest_kept = today + timedelta(days=1) - timedelta(days=RETENTION_DAYS)  # as keep_partitions does

    assert today - timedelta(days=REMEMBERED_DAYS) >= oldest_kept
    assert re.findall(r"retention_days int DEFAULT (\d+)", platform_sql()) == [str(RETENTION_DAYS)], "provisioning's"


async def linked(made: Provisioned, service: str, stopping: asyncio.Event) -> tuple[Publisher, "asyncio.Task[None]"]:
    publisher = Publisher(Broker(made.amqp_urls[service], service=service))
    task = asyncio.create_task(publisher.link.keep(stopping))
    await asyncio.wait_for(publisher.link.ready.wait(), timeout=20)
    return publisher, task


def expired(order_id: UUID, at: datetime) -> tuple[Envelope, bytes]:
    message = OrderExpired(order_id=order_id)
    envelope = Envelope(
        id=new_id(), source="payments/checkout", type=message.TYPE, subject=message.subject(), time=at,
        partitionkey=message.partition_key(),
    )  # fmt: skip
    return envelope, encode(envelope, message.model_dump_json().encode())


async def test_a_message_older_than_the_inbox_is_a_dead_letter_and_goes_back_once_by_a_persons_word(
    servers: Servers, made: Provisioned, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """It took effect long ago, and its day was dropped: nothing here could tell that it is a twin."""
    heard: list[UUID] = []

    async def hear(_: Transaction, message: OrderExpired) -> None:
        heard.append(message.order_id)

    order_id, stopping = new_id(), asyncio.Event()
    envelope, body = expired(order_id, utc_now() - timedelta(days=LONG_AGO))
    key = routing_key(envelope.type, envelope.partitionkey)
    again = Outgoing(
        envelope.id, envelope.type, RETURN_EXCHANGE, "inventory.events", body,
        headers={REPLAY_ID: str(new_id()), REPLAY_OF: str(envelope.id)},
    )  # fmt: skip
    async with (
        administrator(servers, made) as admin,
        half_of("inventory", made, events=[on(OrderExpired, hear)]) as inventory,
    ):
        await consuming(inventory)
        (checkout, one), (operations, two) = [
            await linked(made, service, stopping) for service in ("checkout", "operations")
        ]

        async def resolved() -> list[str]:
            sql = "SELECT convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'outcome' AS outcome FROM inventory.outbox WHERE type = 'dead_letter.resolved.v1' ORDER BY seq"
            return [row["outcome"] for row in await owner.fetch(sql)]

        said = await checkout.publish(Outgoing(envelope.id, envelope.type, EVENTS_EXCHANGE, key, body))

        async def dead() -> bool:
            return await waiting(admin, "inventory.dlq") == 1

        assert said is Outcome.CONFIRMED
        await eventually(dead, within_seconds=60, what="a dead letter")
        letter = await (await admin.get_queue("inventory.dlq")).get(no_ack=True)
        assert letter is not None
        assert letter.headers["pay-fault-reason"] == "forgotten"
        assert heard == []

        for _ in range(2):
            assert await operations.publish(again) is Outcome.CONFIRMED

        async def both_settled() -> bool:
            return len(await resolved()) == 2

        await eventually(both_settled, within_seconds=60, what="both replays")
        assert await resolved() == ["applied", "duplicate"]
        assert heard == [order_id]

        stopping.set()
        await asyncio.gather(one, two)
        await checkout.link.close()
        await operations.link.close()


async def test_the_oldest_day_that_is_remembered_still_tells_a_twin(made: Provisioned) -> None:
    heard: list[UUID] = []

    async def hear(_: Transaction, message: OrderExpired) -> None:
        heard.append(message.order_id)

    stopping = asyncio.Event()
    envelope, body = expired(new_id(), utc_now() - timedelta(days=RETENTION_DAYS - 1))
    assert inbox.remembers(envelope.day, utc_now().date())
    async with half_of("inventory", made, events=[on(OrderExpired, hear)]) as inventory:
        await consuming(inventory)
        checkout, task = await linked(made, "checkout", stopping)
        key = routing_key(envelope.type, envelope.partitionkey)
        last, last_body = expired(new_id(), utc_now())

        for _ in range(3):
            await checkout.publish(Outgoing(envelope.id, envelope.type, EVENTS_EXCHANGE, key, body))
        last_key = routing_key(last.type, last.partitionkey)
        await checkout.publish(Outgoing(last.id, last.type, EVENTS_EXCHANGE, last_key, last_body))

        async def last_heard() -> bool:
            return len(heard) >= 2

        await eventually(last_heard, within_seconds=60, what="the message behind them")
        assert len(heard) == 2
        stopping.set()
        await task
        await checkout.link.close()
