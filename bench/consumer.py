"""`python -m bench.consumer`: what batches are worth where they matter, and how fast they are.

A service is stopped, its queue is filled with real messages about orders that exist, and it is started again: the real
process, with its own logins, its inbox, its tables, its outbox and its relay, which publishes meanwhile what the
decisions announce. Rounds alternate between up to fifty messages per transaction and one; everything else is the same:
one worker, one connection, the same prefetch. The rate is told by the inbox, from the first commit to the last.
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final
from uuid import UUID

import aio_pika
import asyncpg

from bench import costs, evidence, machine, orders
from bench.events import stripe_event
from bench.evidence import Report, say
from bench.messages import row_of
from bench.servers import measured_servers
from payments_shared.clock import utc_now
from payments_shared.contracts import checkout, inventory
from payments_shared.contracts.catalog import CATALOG, CONSUMERS, schema_name
from payments_shared.contracts.message import Message
from payments_shared.ids import new_id
from payments_shared.messaging import Broker, Envelope
from payments_shared.messaging.outbox import OutboxRow, outbox_row
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.topology import EVENTS_EXCHANGE, RETRY_TIERS_MS, Topology, declare
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers, ServersUnavailable

ROUNDS: Final = 3
MESSAGES: Final = 20_000
SHARE_ALONE: Final = 5  # rounds of one message per transaction are this many times shorter
SHARE_WARM_UP: Final = 4  # and the first round of a service, which is not counted: files grow, statistics are gathered
RATE_MIN: Final = 3_000
RATIO_MIN: Final = 4.0
FILL_AT_ONCE: Final = 500
GIVE_UP_SECONDS: Final = 300.0
_TAKEN: Final = "SELECT count(*) FROM {}.inbox"
_PACE: Final = """
SELECT count(*) FILTER (WHERE processed_at < last) AS before_last,
       extract(epoch FROM max(last) - min(processed_at))::float8 AS seconds,
       count(DISTINCT processed_at) AS transactions
  FROM (SELECT processed_at, max(processed_at) OVER () AS last FROM {}.inbox) AS taken
"""
"""A row's time is the start of its transaction: all but the last were applied between the first start and the last."""

Owner = orders.Owner


@dataclass(frozen=True, slots=True)
class Case:
    """A service and what it is told. `told` makes the messages of a run about so many orders, in their order."""

    service: str
    what: str
    per_order: int
    told: Callable[[str, int], list[OutboxRow]]
    begin: Callable[["Owner[asyncpg.Record]", str, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Round:
    """One queue emptied. `used` is over the messages of `counted`, which were applied while the processes were looked
    at."""

    rate: float
    messages: int
    per_transaction: float
    used: costs.Used
    counted: int


def order_id(run: str, number: int) -> UUID:
    """The order that event `number` of `run` pays, as `bench.orders` places it."""
    return UUID(json.loads(stripe_event(run, number, created=0))["data"]["object"]["client_reference_id"][4:])


def said(message: Message) -> OutboxRow:
    """`message` as its owner would say it."""
    speaker = min(CATALOG[message.TYPE].speakers)
    envelope = Envelope(
        id=new_id(),
        source=f"payments/{speaker}",
        type=message.TYPE,
        subject=message.subject(),
        time=utc_now(),
        partitionkey=message.partition_key(),
        correlationid=message.correlation(),
    )
    return outbox_row(envelope, message.model_dump_json().encode())


def paid(run: str, number: int) -> OutboxRow:
    """The order's money is captured: two mugs, to an address."""
    return said(
        checkout.OrderPaid(
            order_id=order_id(run, number),
            currency="usd",
            subtotal_minor=5400,
            discount_minor=0,
            tax_minor=0,
            shipping_minor=0,
            total_minor=5400,
            lines=(checkout.Line(sku=orders.SKU, name="Mug", quantity=2, unit_amount_minor=2700, amount_minor=5400),),
            customer=checkout.Customer(email="ada@example.com", name="Ada Lovelace"),
            shipping_address=checkout.Address(
                name="Ada Lovelace", line1="12 St James's Square", city="London", postal_code="SW1Y 4JH", country="GB"
            ),
            payments=(checkout.Payment(payment_intent=f"pi_{run}_{number}", amount_minor=5400, currency="usd"),),
            paid_at=utc_now(),
        )
    )


def committed(run: str, number: int) -> OutboxRow:
    """The order's stock is sold to it."""
    lines = (inventory.StockLine(sku=orders.SKU, quantity=2),)
    return said(inventory.StockCommitted(order_id=order_id(run, number), lines=lines))


def completed(run: str, number: int) -> OutboxRow:
    """Stripe: the session is complete and paid."""
    return row_of(stripe_event(run, number, created=int(time.time())))


def captured(run: str, number: int) -> OutboxRow:
    """Stripe: the intent of that session has succeeded."""
    event = json.loads(stripe_event(run, number, created=int(time.time())))
    session = event["data"]["object"]
    event |= {"id": event["id"] + "i", "type": "payment_intent.succeeded"}
    event["data"] = {
        "object": {
            "id": session["payment_intent"],
            "object": "payment_intent",
            "amount": 5400,
            "amount_received": 5400,
            "currency": "usd",
            "customer": None,
            "latest_charge": f"ch_{session['payment_intent']}",
            "livemode": False,
            "metadata": session["metadata"],
            "payment_method_types": ["card"],
            "status": "succeeded",
        }
    }
    return row_of(json.dumps(event, indent=2).encode())


def by_turns(*tellers: Callable[[str, int], OutboxRow]) -> Callable[[str, int], list[OutboxRow]]:
    """Every teller about every order, in turns of a batch or so, as a queue would hold what several say at once."""

    def told(run: str, count: int) -> list[OutboxRow]:
        turns = [range(start, min(start + 25, count)) for start in range(0, count, 25)]
        return [tell(run, number) for turn in turns for tell in tellers for number in turn]

    return told


async def nothing(_: "Owner[asyncpg.Record]", __: str, ___: int) -> None:
    """The service has not heard of the orders."""


CASES: Final = (
    Case("inventory", "order.paid, held stock", 1, by_turns(paid), orders.hold_stock),
    Case("fulfillment", "order.paid and stock.committed", 2, by_turns(paid, committed), nothing),
    Case("checkout", "session.completed, then intent.succeeded", 2, by_turns(completed, captured), orders.place_orders),
)


class Bench:
    """The rounds. Every one starts the service anew, with its queue full."""

    def __init__(
        self,
        servers: Servers,
        deployment: Deployment,
        owner: "Owner[asyncpg.Record]",
        publishers: Mapping[str, Publisher],
        seed: str,
    ) -> None:
        self._deployment = deployment
        self._owner = owner
        self._publishers = publishers
        self._seed = seed
        self._servers = costs.server_pids(servers)
        self._queues = {queue.name for service in CONSUMERS for queue in Topology.of(service).queues}

    async def round(self, case: Case, name: str, *, batch_max: int, messages: int) -> Round:
        """Fill the queue, start the service, and see how fast it empties.

        Raises:
            SystemExit: something is missing; a fast consumer that loses messages is none.
        """
        run, count = f"{self._seed}-{case.service}-{name}", messages // case.per_order
        schema = schema_name(case.service)
        await self._owner.execute(f"TRUNCATE {schema}.inbox")
        await case.begin(self._owner, run, count)
        rows = case.told(run, count)
        await self._fill(case.service, rows)
        await asyncio.to_thread(self._deployment.start, case.service, PAYMENTS_BATCH_MAX=str(batch_max))
        pids = {case.service: self._deployment.children[case.service].pid, **self._servers}
        first = await self._taken(schema, 1)
        started, before = time.perf_counter(), costs.look(pids)
        last = await self._taken(schema, len(rows))
        used = costs.between(before, costs.look(pids), time.perf_counter() - started)
        pace = await self._owner.fetchrow(_PACE.format(schema))
        assert pace is not None
        await asyncio.to_thread(self._deployment.stop, case.service)
        await self._empty_queues()
        return Round(
            pace["before_last"] / pace["seconds"], len(rows), len(rows) / pace["transactions"], used, last - first
        )

    async def _fill(self, service: str, rows: Sequence[OutboxRow]) -> None:
        for speaker, told in groupby(rows, key=lambda row: min(CATALOG[row.type].speakers)):
            messages = [Outgoing(row.message_id, row.type, EVENTS_EXCHANGE, row.routing_key, row.body) for row in told]
            for start in range(0, len(messages), FILL_AT_ONCE):
                outcomes = await self._publishers[speaker].publish_many(messages[start : start + FILL_AT_ONCE])
                assert set(outcomes) == {Outcome.CONFIRMED}
        async with self._channel(service) as channel:
            queue = await channel.declare_queue(f"{service}.events", passive=True)
            if queue.declaration_result.message_count != len(rows):
                raise SystemExit(f"{queue.declaration_result.message_count} of {len(rows)} messages are in the queue")

    async def _taken(self, schema: str, wanted: int) -> int:
        """How many messages are applied, once there are as many as wanted."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while (taken := int(await self._owner.fetchval(_TAKEN.format(schema)))) < wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"{taken} of {wanted} messages are applied after {GIVE_UP_SECONDS:.0f} s")
            await asyncio.sleep(0.1)
        return taken

    async def _empty_queues(self) -> None:
        for service in CONSUMERS:
            async with self._channel(service) as channel:
                for queue in (f"{service}.events", f"{service}.work"):
                    if queue in self._queues:
                        await (await channel.get_queue(queue, ensure=False)).purge()

    @contextlib.asynccontextmanager
    async def _channel(self, service: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
        connection = await aio_pika.connect(self._deployment.provisioned.amqp_urls[service])
        async with connection:
            yield await connection.channel()


@contextlib.asynccontextmanager
async def publishers(deployment: Deployment, names: Sequence[str]) -> AsyncIterator[dict[str, Publisher]]:
    """A publisher for each service that speaks here."""
    made = {name: Publisher(Broker(deployment.provisioned.amqp_urls[name], service=name)) for name in names}
    stopping = asyncio.Event()
    links = [asyncio.ensure_future(one.link.keep(stopping)) for one in made.values()]
    for one in made.values():
        await asyncio.wait_for(one.link.ready.wait(), timeout=20)
    try:
        yield made
    finally:
        stopping.set()
        await asyncio.gather(*links)
        for one in made.values():
            await one.link.close()


Rounds = dict[str, tuple[list[Round], list[Round]]]
"""(in batches, one by one) by service."""


async def measure(cases: Sequence[Case], rounds: int, messages: int, seed: str) -> tuple[Rounds, list[str]]:
    """Start everything, run the rounds, stop everything."""
    facts = machine.facts()
    found: Rounds = {case.service: ([], []) for case in cases}
    async with measured_servers(say) as servers:
        facts += await machine.server_facts(servers)
        namespace = f"bench_{secrets.token_hex(3)}"
        async with (
            deploy(servers, namespace=namespace, names=(), retry_tiers_ms=RETRY_TIERS_MS) as deployment,
            publishers(deployment, ("checkout", "inventory", "webhook-ingest")) as speakers,
        ):
            for service in CONSUMERS:
                connection = await aio_pika.connect(deployment.provisioned.amqp_urls[service])
                async with connection:
                    await declare(await connection.channel(), Topology.of(service))
            owner = await orders.connect(deployment.provisioned.owner_database_url)
            bench = Bench(servers, deployment, owner, speakers, seed)
            for case in cases:
                await bench.round(case, "warm-up", batch_max=50, messages=messages // SHARE_WARM_UP)
                for number in range(rounds):
                    ways = (("batches", 50, messages), ("alone", 1, messages // SHARE_ALONE))
                    for way, batch_max, count in ways if number % 2 == 0 else reversed(ways):
                        done = await bench.round(case, f"{way}-{number}", batch_max=batch_max, messages=count)
                        found[case.service][way == "alone"].append(done)
                        cost = done.used.per(done.counted)
                        say(f"{case.service} round {number + 1}, {way}: {done.rate:,.0f}/s, cpu us: {cost}")
            await owner.close()
    return found, facts


def report(cases: Sequence[Case], found: Rounds, facts: Sequence[str], seed: str) -> Report:
    """The table; the goals hold for each service and are judged by the median of its rounds."""
    lines = [
        *facts,
        f"seed      {seed}",
        "orders    and what is held for them are put into the tables by SQL; everything else is done by the services",
        "",
        f"{'':<26}{'msg/s':>8}{'per tx':>8}   cpu us per message",
    ]
    missed, ratios = [], []
    for case in cases:
        batches, alone = found[case.service]
        rate, other = (statistics.median(done.rate for done in rounds) for rounds in (batches, alone))
        ratios.append(f"{case.service} {rate / other:.1f}")
        lines += [_row(f"{case.service}, batches", batches), _row(f"{case.service}, one by one", alone)]
        lines += [f"  of      {case.what}"]
        lines += [f"  rounds  {_listed(batches)}   one by one {_listed(alone)}"]
        used = costs.together(done.used for done in batches)
        lines += [f"  binds   of one core each: {used.shares}; together {used.of_machine:.0%} of the machine", ""]
        if rate < RATE_MIN:
            missed.append(f"{case.service}: {rate:,.0f}/s is below {RATE_MIN:,}/s")
        if rate / other < RATIO_MIN:
            missed.append(f"{case.service}: ratio {rate / other:.1f} is below {RATIO_MIN:.0f}")
    lines.append(
        f"goals     {RATE_MIN:,}/s with broker and database on the same cores, {RATIO_MIN:.0f} times one by one"
    )
    lines.append("ratio     of one message per transaction: " + ", ".join(ratios))
    return Report("Consumers that apply messages in batches", "make bench-consumer", lines, missed)


def _row(name: str, rounds: Sequence[Round]) -> str:
    used = costs.together(done.used for done in rounds)
    rate = statistics.median(done.rate for done in rounds)
    per = statistics.median(done.per_transaction for done in rounds)
    return f"{name:<26}{rate:>8,.0f}{per:>8.1f}   {used.per(sum(done.counted for done in rounds))}"


def _listed(rounds: Sequence[Round]) -> str:
    return "  ".join(f"{done.rate:,.0f}" for done in rounds)


def main() -> None:
    """Exit status 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="per round of batches")
    parser.add_argument("--service", action="append", choices=[case.service for case in CASES], help="only this one")
    parser.add_argument("--seed", default="", help="names the orders; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    cases = [case for case in CASES if given.service is None or case.service in given.service]
    try:
        found, facts = asyncio.run(measure(cases, given.rounds, given.messages, seed))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(cases, found, facts, seed), given.evidence)


if __name__ == "__main__":
    main()
