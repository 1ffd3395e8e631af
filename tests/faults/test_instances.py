"""Several instances of one service share its queue and its outbox, and every order still has one hand on it."""

import asyncio
import contextlib
import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import aio_pika
import asyncpg
import psutil
import pytest
import pytest_asyncio

from payments_shared.clock import monotonic_seconds
from payments_shared.contracts import checkout, fulfillment, refunds
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import Message
from payments_shared.contracts.stripe import EVENT_TYPES
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox
from payments_shared.messaging.topology import EVENTS_EXCHANGE
from payments_shared.postgres import open_pool
from sandbox.services import warm
from sandbox.services.children import Child, clean_environment, free_ports
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.faults import evidence
from tests.support.one_service import OneService
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.faults

DECLINED_CARD: Final = "4000000000000002"
STATES: Final = ("pending", "declined", "expired", "canceled", "processing", "settlement_failed", "paid")
PARCELS: Final = (None, "created", "shipped", "delivered")
RETURNS: Final = (None, "requested", "approved", "succeeded")
RELAY_BATCH_MAX: Final = 500

Record = Callable[[str, object], None]


# -- the instances ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Instances:
    """Further processes of checkout beside the deployment's own, on ports of their own."""

    deployment: Deployment
    shopper: Shopper
    children: list[Child] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    @property
    def running(self) -> dict[int, Child]:
        """Those that live, by their internal ports."""
        return {port: child for port, child in zip(self.ports, self.children, strict=True) if child.running}

    async def start(self, count: int) -> None:
        """Bring the number of those that live to `count`, and wait until each is ready."""
        if not self.children:
            self.children.append(self.deployment.children["checkout"])
            self.ports.append(self.deployment.ports["checkout"])
        while len(self.running) < count:
            self._spawn(f"checkout-{len(self.children) + 1}")
        for port, child in self.running.items():
            await eventually(partial(self._ready, port), within=90, every=0.2, what=f"{child.name} is ready")

    def _spawn(self, name: str) -> None:
        inside, outside = free_ports(2)
        environment = {
            **self.deployment._service_settings("checkout"),
            **self.deployment.extra,
            "PAYMENTS_INTERNAL_PORT": str(inside),
            "PAYMENTS_PUBLIC_PORT": str(outside),
        }
        log = self.deployment.folder / f"{name}.log"
        self.children.append(warm.run(name, "checkout", log=log, environment=clean_environment(**environment)))
        self.ports.append(inside)

    async def _ready(self, port: int) -> bool:
        with contextlib.suppress(OSError):
            return (await self.shopper.call("GET", f"http://127.0.0.1:{port}/readyz")).status == 200
        return False

    def by_client_port(self, port: int) -> Child | None:
        """The instance that has a connection from `port`."""
        for child in self.running.values():
            if port in {connection.laddr.port for connection in psutil.Process(child.pid).net_connections()}:
                return child
        return None

    def stop(self) -> None:
        """Stop those that are not the deployment's own."""
        for child in self.children[1:]:
            if child.running:
                child.popen.terminate()
        for child in self.children[1:]:
            child.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def instances(servers: Servers) -> AsyncIterator[Instances]:
    """One checkout among what it needs to place an order."""
    names = ("stripe", "frontdoor", "webhook-ingest", "checkout", "inventory")
    async with (
        deploy(servers, namespace=f"several{new_id().hex[-8:]}", names=names) as running,
        Shopper.of(running) as shopper,
    ):
        found = Instances(running, shopper)
        yield found
        found.stop()


# -- one hand on an order --------------------------------------------------------------------------------------------

# What a transaction does at an order leaves marks with their time: when it saw the row, when it had changed it, and the
# moment before commit. A policy sees each row that is read, once more when a lock had to be waited for and the row had
# changed meanwhile. So whoever takes the row for itself first has seen it after the one before had committed.
_PROOF: Final = r"""
CREATE SCHEMA proof;
CREATE TABLE proof.marks (
    n bigint GENERATED ALWAYS AS IDENTITY, order_id uuid NOT NULL, transaction text NOT NULL, session int NOT NULL,
    what text NOT NULL, at timestamptz NOT NULL, was jsonb, became jsonb);
CREATE FUNCTION proof.seen(order_id uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF current_query() ~* '^\s*(--[^\n]*\n\s*)*SELECT' THEN
        INSERT INTO proof.marks (order_id, transaction, session, what, at)
        VALUES (order_id, pg_current_xact_id()::text, pg_backend_pid(), 'seen', clock_timestamp());
    END IF;
    RETURN true;
END $$;
CREATE FUNCTION proof.mark() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO proof.marks (order_id, transaction, session, what, at, was, became)
    VALUES (NEW.id, pg_current_xact_id()::text, pg_backend_pid(), TG_ARGV[0], clock_timestamp(), to_jsonb(OLD),
            to_jsonb(NEW));
    RETURN NULL;
END $$;
CREATE TRIGGER changed AFTER UPDATE ON checkout.orders FOR EACH ROW EXECUTE FUNCTION proof.mark('changed');
CREATE CONSTRAINT TRIGGER ends AFTER UPDATE ON checkout.orders DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION proof.mark('ends');
CREATE POLICY seen ON checkout.orders USING (proof.seen(id)) WITH CHECK (true);
ALTER TABLE checkout.orders ENABLE ROW LEVEL SECURITY;
"""
_NO_PROOF: Final = "ALTER TABLE checkout.orders DISABLE ROW LEVEL SECURITY; DROP SCHEMA proof CASCADE"


@pytest.mark.timeout(300)
async def test_four_instances_never_have_two_hands_on_one_order(instances: Instances, record_property: Record) -> None:
    await _many_hands(instances, record_property, orders=30)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_two_hundred_orders_of_thirty_events_over_four_instances(
    instances: Instances, record_property: Record
) -> None:
    await _many_hands(instances, record_property, orders=200)


async def _many_hands(instances: Instances, record_property: Record, *, orders: int) -> None:
    """Each order hears thirty messages in any order: Stripe's under two ids, the way of one parcel and of three refunds,
    and twins of these. One instance is killed in the middle."""
    shopper = instances.shopper
    placed, events = await _declined_twice_and_paid(shopper, orders)
    await shopper.owner.execute(_PROOF)
    await instances.start(4)
    voice = OneService("checkout", instances.deployment, shopper.owner)
    told = _history(placed)
    twins = len(told) * 10 // 12
    began = monotonic_seconds()

    saying = asyncio.gather(_tell(shopper, events), _say(voice, told))
    work = await _half_heard(shopper, len(told) * 2 // 5)
    victim = instances.children[1]
    await asyncio.to_thread(victim.kill)
    record_property("struck", f"one of four instances killed, in flight {work}")
    assert sum(work.values()) > 0
    await saying
    await _all_heard(shopper, [message_id for message_id, _ in told])
    seconds = monotonic_seconds() - began
    await voice.close()

    marks = await shopper.owner.fetch("SELECT * FROM proof.marks ORDER BY at")
    await shopper.owner.execute(_NO_PROOF)
    shared = _shared_orders(marks)
    steps, older = _snapshots(marks)
    overlaps = _overlaps(marks)
    announced = await _announced(shopper, placed)
    ends = await _ends(shopper, placed)
    applied = [await _applied(shopper, port) for port in instances.running]
    stripe = await shopper.count("SELECT count(*) FROM webhook_ingest.outbox")
    evidence.keep(
        "Orders over four instances",
        [
            f"{orders} orders, {stripe} messages of Stripe's and {len(told)} of others, {twins} of these twice",
            f"one instance killed with {_words(work)} in flight; all heard after {seconds:.0f} s",
            f"taken by the three that lived: {applied}; orders with more than one session's hand on them: {shared}",
            f"steps of orders: {steps}; an older snapshot over a newer one: {len(older)}",
            f"two transactions at one order at a time: {len(overlaps)}",
            f"announced as paid: {announced}; ends: {ends}",
        ],
    )
    assert (older, overlaps) == ([], [])
    assert announced == {1: orders}
    assert ends == {("paid", "delivered", "succeeded", "succeeded", "succeeded"): orders}
    assert shared > 0, "the instances never met at an order"
    assert all(applied), "an instance had nothing to do"


async def _declined_twice_and_paid(shopper: Shopper, count: int) -> tuple[list[Json], list[str]]:
    """Orders, and the ids of the events about them that somebody hears, of which none was delivered."""
    sku = await shopper.offer(stock=count)
    at_once = asyncio.Semaphore(8)

    async def bought() -> Json:
        async with at_once:
            order = await shopper.placed(sku)
            statuses = [await shopper.pay(order, card=DECLINED_CARD) for _ in range(2)]
            assert [*statuses, await shopper.pay(order)] == [402, 402, 303]
            return order

    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    orders = list(await asyncio.gather(*(bought() for _ in range(count))))
    truth = (await shopper.stripe("GET", "/_sim/truth"))["events"]
    await shopper.stripe("POST", "/_sim/chaos", {})
    events = [event["id"] for event in truth if event["type"] in EVENT_TYPES and not event["delivered"]]
    assert len(events) == 7 * count, "each decline told by intent and charge, the payment by its session too"
    return orders, events


def _history(orders: Sequence[Json]) -> list[tuple[UUID, Message]]:
    """Twelve facts about each order, with ids of their own, all shuffled."""
    facts = [fact for order in orders for fact in (*_parcel(uuid_of(order)), *_refunds(uuid_of(order)))]
    random.shuffle(facts)
    return [(new_id(), fact) for fact in facts]


def _parcel(order_id: UUID) -> tuple[Message, ...]:
    shipment_id = new_id()
    return (
        fulfillment.ShipmentCreated(
            order_id=order_id, shipment_id=shipment_id, lines=(StockLine(sku="SKU", quantity=1),)
        ),
        fulfillment.ShipmentShipped(order_id=order_id, shipment_id=shipment_id),
        fulfillment.ShipmentDelivered(order_id=order_id, shipment_id=shipment_id),
    )


def _refunds(order_id: UUID) -> list[Message]:
    said: list[Message] = []
    for _ in range(3):
        about: dict[str, Any] = {  # Any: fields of several models
            "order_id": order_id, "refund_id": new_id(), "payment_intent": "pi_1", "amount_minor": 100,
            "currency": "usd", "reason": "goodwill", "requester": "olga",
        }  # fmt: skip
        said += [
            refunds.RefundRequested(**about),
            refunds.RefundApproved(**about, approver="petra"),
            refunds.RefundSucceeded(**about, stripe_refund_id="re_1"),
        ]
    return said


async def _tell(shopper: Shopper, events: Sequence[str]) -> None:
    """Each of Stripe's events, and the same fact again under another id."""
    orders = [(event, order) for event in events for order in ({"copies": 1}, {"copies": 1, "alias": True})]
    random.shuffle(orders)
    at_once = asyncio.Semaphore(8)

    async def tell(event: str, order: object) -> None:
        async with at_once:
            assert (await shopper.stripe("POST", f"/_sim/events/{event}/resend", order))["statuses"] == [200]

    await asyncio.gather(*(tell(event, order) for event, order in orders))


async def _say(voice: OneService, told: Sequence[tuple[UUID, Message]]) -> None:
    """Each fact as its owner says it, and of twelve about an order ten once more: at once or much later."""
    twins = random.sample(told, len(told) * 10 // 12)
    at_once, later = twins[::2], twins[1::2]
    soon = {message_id for message_id, _ in at_once}
    slots = asyncio.Semaphore(32)

    async def say(message_id: UUID, message: Message, times: int) -> None:
        async with slots:
            await voice.say(message, message_id=message_id, times=times)

    await asyncio.gather(*(say(message_id, message, 1 + (message_id in soon)) for message_id, message in told))
    await asyncio.gather(*(say(message_id, message, 1) for message_id, message in later))


async def _half_heard(shopper: Shopper, enough: int) -> dict[str, int]:
    """What is in flight once `enough` was heard."""

    async def found() -> dict[str, int] | None:
        heard = await shopper.count("SELECT count(*) FROM checkout.inbox")
        if heard < enough:
            return None
        stripe = await shopper.count(
            """SELECT count(*) FROM webhook_ingest.outbox AS o WHERE NOT EXISTS (
                   SELECT FROM checkout.inbox AS i WHERE i.day = o.day AND i.message_id = o.message_id)"""
        )
        waiting = await _waiting(shopper, "checkout.events")
        return {"events not heard": stripe, "messages in the queue": waiting}

    work: dict[str, int] = await eventually(found, within=120, every=0.01, what="some of it heard")
    return work


async def _waiting(shopper: Shopper, queue: str) -> int:
    async with _administrator(shopper.deployment) as channel:
        found = await channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0


@contextlib.asynccontextmanager
async def _administrator(deployment: Deployment) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    url = deployment.servers.amqp_url.rpartition("/")[0] + "/" + deployment.provisioned.vhost
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel()


async def _all_heard(shopper: Shopper, ids: Sequence[UUID]) -> None:
    async def heard() -> bool:
        others = await shopper.count("SELECT count(*) FROM checkout.inbox WHERE message_id = ANY($1)", list(ids))
        stripe = await shopper.count(
            """SELECT count(*) FROM webhook_ingest.outbox AS o WHERE NOT EXISTS (
                   SELECT FROM checkout.inbox AS i WHERE i.day = o.day AND i.message_id = o.message_id)"""
        )
        return others == len(ids) and stripe == 0

    await eventually(heard, within=180, every=0.2, what="every message heard")


def _overlaps(marks: "Sequence[asyncpg.Record]") -> list[tuple[str, str, str]]:
    """Pairs of transactions that changed one order at the same time: one saw it before the other had committed."""
    seen: dict[tuple[UUID, str], datetime] = {}
    ends: dict[UUID, dict[str, datetime]] = defaultdict(dict)
    changed: set[tuple[UUID, str]] = set()
    for mark in marks:
        key = (mark["order_id"], mark["transaction"])
        if mark["what"] == "seen" and key not in changed:
            seen[key] = mark["at"]
        elif mark["what"] == "changed":
            changed.add(key)
        elif mark["what"] == "ends":
            ends[mark["order_id"]][mark["transaction"]] = mark["at"]
    assert changed, "nothing was seen"
    return [
        (str(order_id), one, other)
        for order_id, of_order in ends.items()
        for (one, end), (other, _) in itertools.pairwise(sorted(of_order.items(), key=lambda item: item[1]))
        if seen[order_id, other] < end
    ]


def _snapshots(marks: "Sequence[asyncpg.Record]") -> tuple[int, list[tuple[str, str, str]]]:
    """How many steps orders took, and those by which something fell back behind what it had been."""
    steps, older = 0, []
    for mark in marks:
        if mark["what"] != "changed":
            continue
        steps += 1
        was, became = json.loads(mark["was"]), json.loads(mark["became"])
        fell = [
            name
            for name, before, after in (
                ("state", STATES.index(was["state"]), STATES.index(became["state"])),
                ("parcel", PARCELS.index(was["shipment_status"]), PARCELS.index(became["shipment_status"])),
                ("version", was["version"], became["version"]),
                *((key, RETURNS.index(known["status"]), _rank(became, key)) for key, known in was["refunds"].items()),
            )
            if after < before
        ]
        older += [(str(mark["order_id"]), name, mark["transaction"]) for name in fell]
    return steps, older


def _rank(order: Json, refund_id: str) -> int:
    known = order["refunds"].get(refund_id)
    return RETURNS.index(known["status"] if known else None)


def _shared_orders(marks: "Sequence[asyncpg.Record]") -> int:
    sessions = defaultdict(set)
    for mark in (mark for mark in marks if mark["what"] == "changed"):
        sessions[mark["order_id"]].add(mark["session"])
    return sum(len(found) > 1 for found in sessions.values())


async def _announced(shopper: Shopper, orders: Sequence[Json]) -> dict[int, int]:
    """How many orders were announced as paid how often."""
    sql = """SELECT correlation_id, count(*) AS times FROM checkout.outbox
              WHERE type = 'order.paid.v1' AND correlation_id = ANY($1) GROUP BY 1"""
    rows = await shopper.owner.fetch(sql, [order["order_id"] for order in orders])
    return dict(Counter(row["times"] for row in rows))


async def _ends(shopper: Shopper, orders: Sequence[Json]) -> dict[tuple[str, ...], int]:
    sql = "SELECT state, shipment_status, refunds FROM checkout.orders WHERE id = ANY($1)"
    rows = await shopper.owner.fetch(sql, [uuid_of(order) for order in orders])
    return dict(
        Counter(
            (row["state"], row["shipment_status"], *sorted(r["status"] for r in json.loads(row["refunds"]).values()))
            for row in rows
        )
    )


async def _applied(shopper: Shopper, port: int) -> int:
    """How many messages the instance behind `port` has applied."""
    text = (await shopper.call("GET", f"http://127.0.0.1:{port}/metrics")).body["raw"]
    lines = [line for line in text.splitlines() if line.startswith("payments_messages_consumed_total{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if 'outcome="applied"' in line))


def _words(work: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in work.items())


# -- one relay at work -----------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_of_three_relays_one_works_and_a_kill_hands_over(instances: Instances, record_property: Record) -> None:
    await _handed_over(instances, record_property, per_order=40, kills=1)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_ten_thousand_messages_through_three_relays_of_which_two_are_killed(
    instances: Instances, record_property: Record
) -> None:
    await _handed_over(instances, record_property, per_order=200, kills=2)


async def _handed_over(instances: Instances, record_property: Record, *, per_order: int, kills: int) -> None:
    """Fifty orders with many messages each, while whoever relays is killed."""
    shopper, deployment = instances.shopper, instances.deployment
    await instances.start(3)
    orders = [new_id() for _ in range(50)]
    total = len(orders) * per_order
    pool = await open_pool(deployment.provisioned.database_urls["checkout"], schema="checkout", application_name="said")
    outbox = Outbox(pool, service="checkout")
    heard: list[tuple[str, int]] = []
    handovers: list[tuple[object, ...]] = []
    async with _listening(deployment, "order.unheld.v1", heard):
        saying = asyncio.create_task(_say_in_turn(outbox, orders, per_order))
        relays: list[Child] = []
        for number in range(1, kills + 1):
            relay = await _relay_at_work(instances, shopper, heard, total * number // (kills + 2))
            relays.append(relay)
            unsaid = await _unsaid(shopper)
            await asyncio.to_thread(relay.kill)
            record_property("struck", f"relay of {relay.name} killed, in flight {unsaid} unsaid messages")
            assert unsaid > 0
            struck_at = monotonic_seconds()
            successor = await _relay(instances, shopper)
            handovers.append((number, relay.name, unsaid, successor.name, f"{monotonic_seconds() - struck_at:.1f} s"))
        await saying
        await eventually(lambda: _all_came(heard, total), within=120, what=f"{total} messages")
    await pool.close()

    first = list(dict.fromkeys(heard))
    twice = len(heard) - len(first)
    evidence.keep(
        "Three relays",
        [
            *evidence.table(("kill", "relay of", "unsaid", "handed over to", "after"), handovers),
            f"{total} messages of {len(orders)} orders: {len(first)} came, {twice} of them twice or more",
        ],
    )
    assert len(first) == total
    assert twice <= kills * RELAY_BATCH_MAX
    for order in {name for name, _ in first}:
        sequence = [number for name, number in first if name == order]
        assert sequence == sorted(sequence), order
    assert len(set(map(id, relays))) == kills


async def _say_in_turn(outbox: Outbox, orders: Sequence[UUID], per_order: int) -> None:
    for number in range(per_order):
        async with outbox.transaction() as tx:
            for order_id in orders:
                tx.announce(checkout.OrderUnheld(order_id=order_id), sequence=number)


@contextlib.asynccontextmanager
async def _listening(deployment: Deployment, message_type: str, heard: list[tuple[str, int]]) -> AsyncIterator[None]:
    """Append (partition key, sequence) of each message of a type to `heard`, as they come, with their copies."""
    async with _administrator(deployment) as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EVENTS_EXCHANGE, f"{message_type}.*")

        async def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            body = json.loads(message.body)
            heard.append((body["partitionkey"], body["sequence"]))

        await queue.consume(hear, no_ack=True)
        yield


async def _relay_at_work(instances: Instances, shopper: Shopper, heard: Sequence[object], enough: int) -> Child:
    """Who relays, once so many messages came and others wait."""

    async def under_way() -> bool:
        return len(heard) >= enough and await _unsaid(shopper) > 0

    await eventually(under_way, within=60, every=0.01, what=f"{enough} messages relayed and others waiting")
    return await _relay(instances, shopper)


async def _relay(instances: Instances, shopper: Shopper) -> Child:
    """The one instance that holds the outbox."""
    sql = """SELECT a.client_port FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
              WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'checkout-relay'
                AND a.datname = current_database()"""

    async def holding() -> Child | None:
        rows = await shopper.owner.fetch(sql)
        assert len(rows) <= 1
        return instances.by_client_port(rows[0]["client_port"]) if rows else None

    found: Child = await eventually(holding, within=60, every=0.02, what="a relay holds the outbox")
    return found


async def _unsaid(shopper: Shopper) -> int:
    return await shopper.count("SELECT count(*) FROM checkout.outbox WHERE published_at IS NULL")


async def _all_came(heard: Sequence[tuple[str, int]], total: int) -> bool:
    return len(set(heard)) >= total
