"""Kills under many messages and many payments: nothing is lost, and nothing happens twice."""

import asyncio
import os
import random
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import aio_pika
import asyncpg
import pytest
import pytest_asyncio

from payments_shared.clock import monotonic_seconds, utc_now
from payments_shared.contracts import checkout as said
from payments_shared.contracts.catalog import SERVICES, heard_by, schema_name
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox
from payments_shared.postgres import open_pool
from sandbox.services.deployment import Deployment, deploy
from tests.faults import evidence
from tests.faults.load import each_ends_once
from tests.support.shopping import Json, Shopper, eventually

pytestmark = pytest.mark.faults

SKU: Final = "SKU-many"
CHUNK: Final = 250
CHUNKS_PER_SECOND: Final = 4  # a thousand messages a second
CONSUMERS: Final = ("checkout", "inventory", "fulfillment", "refunds", "notifications")

Record = Callable[[str, object], None]


# -- a broker that dies under many messages --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Road:
    """Checkout's relay, the broker, and inventory behind it, where each message sells one piece of the same goods."""

    deployment: Deployment
    outbox: Outbox
    owner: "asyncpg.Pool[asyncpg.Record]"

    async def say(self, orders: Sequence[UUID]) -> None:
        """Put `order.paid` of each into checkout's outbox, a chunk in one commit, at an even pace."""
        for start in range(0, len(orders), CHUNK):
            async with self.outbox.transaction() as tx:
                for order_id in orders[start : start + CHUNK]:
                    tx.announce(_paid(order_id))
            await asyncio.sleep(1 / CHUNKS_PER_SECOND)

    async def count(self, sql: str, *args: object) -> int:
        return int(await self.owner.fetchval(sql, *args))

    async def heard(self) -> int:
        return await self.count("SELECT count(*) FROM inventory.inbox WHERE type = 'order.paid.v1'")

    async def in_flight(self) -> dict[str, int]:
        """Messages that the broker has not confirmed, and those it has and that have not taken effect."""
        unsaid = await self.count("SELECT count(*) FROM checkout.outbox WHERE published_at IS NULL")
        said_ = await self.count("SELECT count(*) FROM checkout.outbox WHERE published_at IS NOT NULL")
        return {"unsaid": unsaid, "said and not heard": said_ - await self.heard()}

    async def effects(self) -> dict[str, int]:
        """Each effect of the messages, counted where it would show if it happened twice."""
        sql = {
            "messages heard": "SELECT count(*) FROM inventory.inbox WHERE type = 'order.paid.v1'",
            "reservations committed": "SELECT count(*) FROM inventory.reservations WHERE state = 'committed'",
            "steps to committed": "SELECT count(*) FROM inventory.reservation_transitions WHERE to_state = 'committed'",
            "pieces sold": "SELECT committed FROM inventory.stock",
            "commitments said": "SELECT count(*) FROM inventory.outbox WHERE type = 'stock.committed.v1'",
            "orders they name": """SELECT count(DISTINCT partition_key) FROM inventory.outbox
                                   WHERE type = 'stock.committed.v1'""",
        }
        return {name: await self.count(text) for name, text in sql.items()}

    async def dead_letters(self) -> int:
        """How many messages the broker has among inventory's dead letters."""
        servers, made = self.deployment.servers, self.deployment.provisioned
        connection = await aio_pika.connect(servers.amqp_url.rpartition("/")[0] + "/" + made.vhost)
        async with connection:
            queue = await (await connection.channel()).declare_queue("inventory.dlq", passive=True)
            return queue.declaration_result.message_count or 0


@pytest_asyncio.fixture(loop_scope="session")
async def road(struck: Deployment) -> AsyncIterator[Road]:
    """Two services of a namespace of their own, on the servers that may be struck."""
    async with deploy(struck.servers, namespace="road", names=("checkout", "inventory")) as running:
        pool = await open_pool(
            running.provisioned.database_urls["checkout"], schema="checkout", application_name="road"
        )
        owner = await asyncpg.create_pool(running.provisioned.owner_database_url, min_size=0, max_size=2)
        yield Road(running, Outbox(pool, service="checkout"), owner)
        await pool.close()
        await owner.close()


@pytest.mark.timeout(300)
async def test_messages_survive_a_broker_that_is_killed_under_them(road: Road, record_property: Record) -> None:
    await _survive_kills_of_the_broker(road, record_property, count=3_000, kills=1)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_twenty_thousand_messages_survive_three_kills_of_the_broker(road: Road, record_property: Record) -> None:
    await _survive_kills_of_the_broker(road, record_property, count=20_000, kills=3)


async def _survive_kills_of_the_broker(road: Road, record_property: Record, *, count: int, kills: int) -> None:
    orders = [new_id() for _ in range(count)]
    await road.owner.execute("INSERT INTO inventory.stock (sku, total, available) VALUES ($1, $2, $2)", SKU, count)
    broker = road.deployment.servers.rabbitmq
    assert broker is not None
    began = monotonic_seconds()
    saying = asyncio.create_task(road.say(orders))
    rows: list[tuple[object, ...]] = []

    for number in range(1, kills + 1):
        await _comes_to(road, count * number // (kills + 2))
        struck_at = await _work_on(road)
        await asyncio.to_thread(broker.kill)
        record_property("struck", f"broker killed, in flight {struck_at}")
        await asyncio.to_thread(broker.start)
        rows.append((number, struck_at["unsaid"], struck_at["said and not heard"]))
    back = monotonic_seconds()
    await saying
    await _comes_to(road, count)
    await eventually(lambda: _nothing_unsaid(road), within=60, what="everything said")

    done = monotonic_seconds()
    effects, dead = await road.effects(), await road.dead_letters()
    again = _metric(road.deployment, "inventory", "payments_inbox_duplicates_total")
    record_property("struck", f"{count} messages, {kills} kills: {effects}, {again} delivered again")
    evidence.keep(
        "Messages through a broker that is killed",
        [
            *evidence.table(("kill", "unsaid", "said and not heard"), rows),
            f"{count} messages in {done - began:.0f} s, the last {done - back:.0f} s after the broker was back",
            f"{again} deliveries had taken effect before; dead letters {dead}",
            *(f"{name}: {number}" for name, number in effects.items()),
        ],
    )
    assert effects == dict.fromkeys(effects, count)
    assert dead == 0


async def _work_on(road: Road) -> dict[str, int]:
    """What is under way, as soon as something is."""

    async def found() -> dict[str, int] | None:
        seen = await road.in_flight()
        return seen if any(seen.values()) else None

    work: dict[str, int] = await eventually(found, within=60, every=0.005, what="work on the road")
    return work


async def _comes_to(road: Road, number: int) -> None:
    async def there() -> bool:
        return await road.heard() >= number

    await eventually(there, within=240, every=0.05, what=f"{number} messages heard")


async def _nothing_unsaid(road: Road) -> bool:
    sql = "SELECT count(*) FROM {}.outbox WHERE published_at IS NULL"
    return not any([await road.count(sql.format(schema)) for schema in ("checkout", "inventory")])


def _paid(order_id: UUID) -> said.OrderPaid:
    line = said.Line(sku=SKU, name="Mug", quantity=1, unit_amount_minor=900, amount_minor=900)
    return said.OrderPaid(
        order_id=order_id, currency="usd", subtotal_minor=900, discount_minor=0, tax_minor=0, shipping_minor=0,
        total_minor=900, lines=(line,), customer=said.Customer(email="ada@example.com"),
        payments=(said.Payment(payment_intent=f"pi_{order_id.hex}", amount_minor=900, currency="usd"),),
        paid_at=utc_now(),
    )  # fmt: skip


# -- consumers that die under many payments --------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_payments_told_five_times_take_effect_once_while_consumers_are_killed(
    shopper: Shopper, struck: Deployment, record_property: Record
) -> None:
    await _told_five_times(shopper, struck, record_property, count=50, victims=CONSUMERS[:2])


@pytest.mark.full
@pytest.mark.timeout(1500)
async def test_a_thousand_payments_told_five_times_take_effect_once_through_ten_kills(
    shopper: Shopper, struck: Deployment, record_property: Record
) -> None:
    await _told_five_times(shopper, struck, record_property, count=1_000, victims=CONSUMERS * 2)


async def _told_five_times(
    shopper: Shopper, struck: Deployment, record_property: Record, *, count: int, victims: Sequence[str]
) -> None:
    """Orders are placed and paid while Stripe delivers nothing. Then each event comes four times over, and once more
    under another id, in any order, in as many waves as there are victims; one dies in each."""
    began = monotonic_seconds()
    orders, events = await _paid_and_not_told(shopper, count)
    placed = monotonic_seconds()
    rows: list[tuple[object, ...]] = []
    for number, victim in enumerate(victims):
        wave = asyncio.create_task(_tell(shopper, events[number :: len(victims)]))
        work = await _work_for(shopper, struck, victim)
        await asyncio.to_thread(struck.kill, victim)
        record_property("struck", f"killed {victim}, in flight {work}")
        await asyncio.to_thread(struck.start, victim)
        await asyncio.to_thread(struck.wait_ready, victim)
        await wave
        rows.append((number + 1, victim, *work.values()))
    told = monotonic_seconds()

    await each_ends_once(shopper, orders, within=300, mails_again_max=victims.count("notifications"))

    done = monotonic_seconds()
    await shopper.audited()
    duplicates = _metric(struck, "webhook-ingest", 'payments_webhook_events_total{outcome="duplicate"}')
    summary = f"{count} payments, {len(events)} events told 5 times, {len(victims)} kills: every effect {count} times"
    record_property("struck", f"{summary}, {duplicates} webhooks dropped at the door")
    assert duplicates >= 3 * len(events), "each event was told four times under its own id"
    evidence.keep(
        "Payments told five times while consumers are killed",
        [
            *evidence.table(("kill", "of", "messages it had not heard", "orders unfinished"), rows),
            f"{summary}; the audit holds",
            f"{duplicates} webhooks were known at the door; one in five came under another id and was known by its fact",
            f"placed and paid in {placed - began:.0f} s, told in {told - placed:.0f} s, done {done - told:.0f} s later",
        ],
    )


async def _paid_and_not_told(shopper: Shopper, count: int) -> tuple[list[Json], list[str]]:
    """Orders that were placed and paid, and the ids of all events about them, of which none was delivered."""
    sku = await shopper.offer(stock=count)
    await shopper.quiet()
    before = {event["id"] for event in (await shopper.stripe("GET", "/_sim/truth"))["events"]}
    at_once = asyncio.Semaphore(8)

    async def bought() -> Json:
        async with at_once:
            order = await shopper.placed(sku)
            assert await shopper.pay(order) == 303
            return order

    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    orders = list(await asyncio.gather(*(bought() for _ in range(count))))
    await shopper.stripe("POST", "/_sim/chaos", {})
    truth = await shopper.stripe("GET", "/_sim/truth")
    events = [event["id"] for event in truth["events"] if event["id"] not in before]
    random.shuffle(events)
    return orders, events


async def _tell(shopper: Shopper, events: Sequence[str]) -> None:
    at_once = asyncio.Semaphore(16)

    async def tell(event: str, order: Json) -> None:
        async with at_once:
            answer = await shopper.stripe("POST", f"/_sim/events/{event}/resend", order)
            assert answer["statuses"] == [200] * order["copies"], answer

    orders: tuple[Json, ...] = ({"copies": 4}, {"copies": 1, "alias": True})
    told = [(event, order) for event in events for order in orders]
    random.shuffle(told)
    await asyncio.gather(*(tell(event, order) for event, order in told))


async def _work_for(shopper: Shopper, struck: Deployment, victim: str) -> dict[str, int]:
    """What a kill of `victim` harms, as soon as there is something: messages for it that have not taken effect. One
    that is too quick for us is frozen in the midst of its work."""
    heard = f"SELECT count(*) FROM {schema_name(victim)}.inbox"
    before = await shopper.count(heard)
    types = [entry.name for entry in heard_by(victim)]
    said_ = " UNION ALL ".join(
        f"SELECT day, message_id FROM {schema_name(name)}.outbox WHERE type = ANY($1)" for name in SERVICES
    )
    sql = f"""SELECT count(*) FROM ({said_}) AS o WHERE NOT EXISTS (
        SELECT FROM {schema_name(victim)}.inbox AS i WHERE i.day = o.day AND i.message_id = o.message_id)"""
    unfinished = """SELECT count(*) FROM checkout.orders AS o WHERE NOT EXISTS (
        SELECT FROM notifications.mails AS m WHERE m.order_id = o.id AND m.state = 'sent')"""

    async def found() -> dict[str, int] | None:
        unheard = await shopper.count(sql, types)
        if not unheard and await shopper.count(heard) > before:
            os.kill(struck.children[victim].pid, signal.SIGSTOP)
        return {"unheard": unheard, "unfinished": await shopper.count(unfinished)} if unheard else None

    work: dict[str, int] = await eventually(found, within=60, every=0.01, what=f"work for {victim}")
    return work


def _metric(deployment: Deployment, service: str, series: str) -> int:
    """The value of one series of a running service."""
    with urllib.request.urlopen(deployment.internal_url(service) + "/metrics", timeout=10) as answer:  # noqa: S310
        text = answer.read().decode()
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else 0
