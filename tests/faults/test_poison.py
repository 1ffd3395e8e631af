"""Poison among many: each ends once among the dead letters, and the others go on."""

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio

from payments_shared.clock import monotonic_seconds, utc_now
from payments_shared.contracts import checkout, fulfillment
from payments_shared.contracts.inventory import StockLine
from payments_shared.ids import new_id
from payments_shared.messaging import Envelope
from payments_shared.messaging.envelope import encode, routing_key
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.recoverability import Reason
from payments_shared.messaging.topology import DELIVERY_LIMIT, EVENTS_EXCHANGE
from sandbox.services.deployment import deploy
from sandbox.services.resolver import Servers
from tests.faults import evidence
from tests.faults.poison import DeadLetters, Poison, invalid, of_message, undecodable
from tests.support.shopping import Shopper, eventually
from tests.support.speaking import speaking

pytestmark = pytest.mark.faults

SKU: Final = "SKU-among-many"
TICK_SECONDS: Final = 0.05
RATE: Final = 100  # a second
SLOWER_MAX: Final = 2.0

Record = Callable[[str, object], None]

_COMMITS: Final = """
CREATE SCHEMA proof;
CREATE TABLE proof.commits (order_id uuid NOT NULL, at timestamptz NOT NULL);
CREATE FUNCTION proof.committing() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO proof.commits VALUES (NEW.order_id, clock_timestamp());
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER committing AFTER INSERT ON inventory.reservation_transitions DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION proof.committing();
"""


@dataclass(frozen=True, slots=True)
class Stream:
    """Paid orders on their way to inventory, each of which sells one piece, at an even rate."""

    shopper: Shopper
    publisher: Publisher

    async def flow(self, count: int, poison: Sequence[Poison] = ()) -> list[float]:
        """`count` orders with `poison` spread among them: the seconds from the moment each was due to its commit."""
        per_tick = int(RATE * TICK_SECONDS)
        ticks = -(-count // per_tick)
        dead = DeadLetters(self.shopper, "inventory", poison)
        due: dict[UUID, datetime] = {}
        sending: list[asyncio.Task[None]] = []
        base, base_at = monotonic_seconds(), utc_now()
        async with speaking(self.shopper.deployment, "inventory") as own:
            for tick in range(ticks):
                await asyncio.sleep(max(0.0, base + tick * TICK_SECONDS - monotonic_seconds()))
                at = base_at + timedelta(seconds=tick * TICK_SECONDS)
                orders = {new_id(): at for _ in range(min(per_tick, count - len(due)))}
                due |= orders
                sending.append(asyncio.create_task(self.send(list(orders), at)))
                now = poison[tick * len(poison) // ticks : (tick + 1) * len(poison) // ticks]
                sending.extend(asyncio.create_task(dead.publish_one(own, one)) for one in now)
            await asyncio.gather(*sending)
        committed = await self.committed(list(due))
        return [(committed[order_id] - at).total_seconds() for order_id, at in due.items()]

    async def send(self, orders: Sequence[UUID], at: datetime) -> None:
        """Publish `order.paid` of each, as checkout says it."""
        outcomes = await self.publisher.publish_many([_outgoing(order_id, at) for order_id in orders])
        assert set(outcomes) == {Outcome.CONFIRMED}

    async def committed(self, orders: Sequence[UUID]) -> dict[UUID, datetime]:
        """When each order's effect was committed, once all are."""
        rows = await eventually(lambda: self._all_committed(orders), within=120, every=0.2, what="all orders served")
        assert len(rows) == len(orders), "an order was served twice"
        return {row["order_id"]: row["at"] for row in rows}

    async def _all_committed(self, orders: Sequence[UUID]) -> object:
        rows = await self.shopper.owner.fetch("SELECT * FROM proof.commits WHERE order_id = ANY($1)", list(orders))
        return rows if len({row["order_id"] for row in rows}) == len(orders) else None

    async def dead_letters(self) -> int:
        return await self.shopper.count("SELECT count(*) FROM operations.dead_letters")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stream(servers: Servers) -> AsyncIterator[Stream]:
    """Inventory, and operations that keeps its dead letters."""
    names = ("inventory", "operations")
    async with (
        deploy(servers, namespace=f"poison{new_id().hex[-8:]}", names=names) as running,
        Shopper.of(running) as shopper,
        speaking(running, "checkout") as publisher,
    ):
        await shopper.owner.execute(_COMMITS)
        await shopper.owner.execute(
            "INSERT INTO inventory.stock (sku, total, available) VALUES ($1, $2, $2)", SKU, 10**6
        )
        yield Stream(shopper, publisher)


@pytest.mark.timeout(300)
async def test_poison_among_many_ends_once_among_the_dead_letters(stream: Stream, record_property: Record) -> None:
    await _poisoned(stream, record_property, rounds=1, count=200, of_each=1)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_twenty_one_among_ten_thousand_slow_nobody_down(stream: Stream, record_property: Record) -> None:
    clean, poisoned = await _poisoned(stream, record_property, rounds=4, count=2_500, of_each=7)

    assert poisoned <= SLOWER_MAX * clean


async def _poisoned(
    stream: Stream, record_property: Record, *, rounds: int, count: int, of_each: int
) -> tuple[float, float]:
    """Rounds with and without poison in turn; the 99th percentile of the others' delay, without and with it."""
    before = await stream.dead_letters()
    poison = [make() for _ in range(of_each) for make in (_unreadable, _never_sold, _beyond_counting)]
    delays: dict[bool, list[float]] = {False: [], True: []}
    await stream.flow(count // 4)  # to warm up
    for number in range(rounds):
        for with_poison in (False, True) if number % 2 == 0 else (True, False):
            mine = poison[number * len(poison) // rounds : (number + 1) * len(poison) // rounds] if with_poison else []
            delays[with_poison] += await stream.flow(count, mine)
    await DeadLetters(stream.shopper, "inventory", poison).all_kept_once()

    clean, poisoned = _p99(delays[False]), _p99(delays[True])
    record_property("struck", f"{len(poison)} poison among {rounds * count} messages under way at {RATE}/s")
    rows = [
        (name, len(found), f"{statistics.median(found) * 1000:.0f} ms", f"{_p99(found) * 1000:.0f} ms", number)
        for name, found, number in (("without", delays[False], 0), ("with", delays[True], len(poison)))
    ]
    evidence.keep(
        "Poison among many",
        [
            *evidence.table(("poison", "messages", "p50", "p99", "dead letters"), rows),
            f"p99 with poison {poisoned / clean:.2f} times that without (at most {SLOWER_MAX:.0f})",
        ],
    )
    assert await stream.dead_letters() - before == len(poison)
    return clean, poisoned


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


_unreadable_kinds: Final = (undecodable, invalid)


def _unreadable() -> Poison:
    return _unreadable_kinds[new_id().int % 2]()


def _never_sold() -> Poison:
    """Goods come back of an order that was sold none."""
    lines = (StockLine(sku=SKU, quantity=1),)
    message = fulfillment.ShipmentReturned(order_id=new_id(), shipment_id=new_id(), lines=lines)
    return of_message(message, Reason.PERMANENT)


def _beyond_counting() -> Poison:
    """More than a column can hold: an error that nobody foresaw, tried again until the tiers are used up."""
    return of_message(_paid(new_id(), quantity=2**40), Reason.EXHAUSTED)


# -- a message that kills --------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_a_message_that_kills_its_handler_takes_no_other_with_it(
    stream: Stream, servers: Servers, record_property: Record
) -> None:
    async with _delivery_limit(stream, servers, 3):
        await _deadly(stream, record_property, neighbours=100, deaths_due=4)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_a_message_that_kills_twenty_times_takes_no_other_with_it(
    stream: Stream, record_property: Record
) -> None:
    await _deadly(stream, record_property, neighbours=400, deaths_due=DELIVERY_LIMIT + 1)


async def _deadly(stream: Stream, record_property: Record, *, neighbours: int, deaths_due: int) -> None:
    deployment = stream.shopper.deployment
    before = await stream.dead_letters()
    deadly, orders = new_id(), [new_id() for _ in range(neighbours)]
    await asyncio.to_thread(deployment.stop, "inventory")
    await stream.send(orders[: neighbours // 4], utc_now())
    outgoing = _outgoing(deadly, utc_now())
    assert await stream.publisher.publish(outgoing) is Outcome.CONFIRMED
    await stream.send(orders[neighbours // 4 :], utc_now())
    deaths = -1  # the first start is none

    async def dead_letter() -> object:
        nonlocal deaths
        if not deployment.children["inventory"].running:
            deaths += 1
            deployment.start("inventory", PAYMENTS_FAILPOINT=f"before_handler@{outgoing.message_id}=kill:1")
        sql = "SELECT service, queue, reason, status FROM operations.dead_letters WHERE message_id = $1"
        return await stream.shopper.owner.fetchrow(sql, str(outgoing.message_id))

    letter = await eventually(dead_letter, within=400, every=0.05, what="the message that kills is a dead letter")
    await stream.committed(orders)

    record_property("struck", f"one message killed inventory {deaths} times, {neighbours} others in its queue")
    evidence.keep(
        "A message that kills",
        [f"killed its handler {deaths} times, then a dead letter: {tuple(letter)}; {neighbours} others served once"],
    )
    assert tuple(letter) == ("inventory", "inventory.events", "delivery_limit", "open")
    # A delivery that was cut off before its handler ran counts for the limit, and kills nobody.
    assert deaths_due - 1 <= deaths <= deaths_due, "the limit of deliveries, and the one that goes beyond it"
    assert await stream.dead_letters() - before == 1, "neighbours were dead-lettered with it"


@contextlib.asynccontextmanager
async def _delivery_limit(stream: Stream, servers: Servers, limit: int) -> AsyncIterator[None]:
    """Fewer deliveries than the queue's own limit, so that a test need not die so often."""
    parts = urlsplit(servers.management_url)
    base = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    vhost = stream.shopper.deployment.provisioned.vhost
    login = aiohttp.encode_basic_auth(unquote(parts.username or ""), unquote(parts.password or ""))
    url = f"{base}/api/policies/{vhost}/fewer"
    policy = {"pattern": r"^inventory\.events$", "definition": {"delivery-limit": limit}, "apply-to": "queues"}
    answer = await stream.shopper.call("PUT", url, policy, Authorization=login)
    assert answer.status in (201, 204), answer
    yield
    await stream.shopper.call("DELETE", url, Authorization=login)


def _outgoing(order_id: UUID, at: datetime) -> Outgoing:
    message = _paid(order_id)
    envelope = Envelope(
        id=new_id(), source="payments/checkout", type=message.TYPE, subject=message.subject(), time=at,
        partitionkey=message.partition_key(),
    )  # fmt: skip
    body = encode(envelope, message.model_dump_json().encode())
    key = routing_key(envelope.type, envelope.partitionkey)
    return Outgoing(envelope.id, envelope.type, EVENTS_EXCHANGE, key, body)


def _paid(order_id: UUID, *, quantity: int = 1) -> checkout.OrderPaid:
    line = checkout.Line(sku=SKU, name="Mug", quantity=quantity, unit_amount_minor=900, amount_minor=900 * quantity)
    return checkout.OrderPaid(
        order_id=order_id, currency="usd", subtotal_minor=900, discount_minor=0, tax_minor=0, shipping_minor=0,
        total_minor=900, lines=(line,), customer=checkout.Customer(email="ada@example.com"),
        payments=(checkout.Payment(payment_intent=f"pi_{order_id.hex}", amount_minor=900, currency="usd"),),
        paid_at=utc_now(),
    )  # fmt: skip
