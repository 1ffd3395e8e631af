"""`python -m bench.relay`: how fast the relay of webhook-ingest drains a filled outbox.

Each round stores events of about 2 KB with their rows of the outbox, all visible at one commit, while the real service
runs: its own login, its relay, confirms, and the quorum queues of all who hear it. The rate is told by the rows
themselves, from the first batch marked as published to the last. Rounds alternate with the plainest publisher, which
has neither database nor order to keep: aio-pika, the same bodies, the same queues, 64 in flight.
"""

import argparse
import asyncio
import secrets
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aio_pika

from bench import costs, evidence, machine
from bench.events import stripe_event
from bench.evidence import Report, say
from bench.messages import row_of
from bench.servers import measured_servers
from bench.targets import INGEST, Product, hearers, product
from payments_shared.contracts.catalog import schema_name
from payments_shared.messaging.outbox import OutboxRow, append
from payments_shared.messaging.topology import EVENTS_EXCHANGE
from payments_shared.postgres import open_connection
from sandbox.services.resolver import Servers, ServersUnavailable

ROUNDS: Final = 5
MESSAGES: Final = 20_000
GOAL_PER_SECOND: Final = 4_000
FILL_AT_ONCE: Final = 1_000
IN_FLIGHT: Final = 64
_DRAINED: Final = """
SELECT count(*) AS published,
       count(*) FILTER (WHERE published_at > first) AS after_first,
       extract(epoch FROM max(published_at) - min(published_at))::float8 AS seconds
  FROM (SELECT published_at, min(published_at) OVER () AS first FROM outbox WHERE seq > $1) AS rows
"""


@dataclass(frozen=True, slots=True)
class Round:
    """One draining: messages per second, and who used the processors meanwhile."""

    rate: float
    used: costs.Used
    count: int


def rows_of(run: str, count: int) -> list[OutboxRow]:
    """The rows that webhook-ingest would store for `count` events of `run`."""
    now = int(time.time())
    return [row_of(stripe_event(run, number, created=now)) for number in range(count)]


class Bench:
    """The rounds."""

    def __init__(self, servers: Servers, under_test: Product, seed: str) -> None:
        self._product = under_test
        self._seed = seed
        self._servers = costs.server_pids(servers)

    async def relay_round(self, name: str, count: int) -> Round:
        """Fill the outbox, and see how fast it empties."""
        rows = rows_of(f"{self._seed}-relay-{name}", count)
        pids = {"webhook-ingest": self._product.child.pid, **self._servers}
        url = self._product.deployment.provisioned.owner_database_url
        owner = await open_connection(url, schema=schema_name(INGEST), application_name="bench")
        try:
            known = await owner.fetchval("SELECT coalesce(max(seq), 0) FROM outbox")
            async with owner.transaction():
                for start in range(0, count, FILL_AT_ONCE):
                    await append(owner, rows[start : start + FILL_AT_ONCE])
            started, before = time.perf_counter(), costs.look(pids)
            await self._product.drained()
            used = costs.between(before, costs.look(pids), time.perf_counter() - started)
            found = await owner.fetchrow(_DRAINED, known)
        finally:
            await owner.close()
        assert found is not None
        await self._all_heard(found["published"], count)
        return Round(found["after_first"] / found["seconds"], used, count)

    async def plain_round(self, name: str, count: int) -> Round:
        """Publish bodies of the same kind through aio-pika's own confirms, from this process."""
        rows = rows_of(f"{self._seed}-plain-{name}", count)
        connection = await aio_pika.connect_robust(self._product.deployment.provisioned.amqp_urls["webhook-ingest"])
        async with connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchange = await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)
            waiting = iter(rows)

            async def publish() -> None:
                for row in waiting:
                    message = aio_pika.Message(
                        row.body, message_id=str(row.message_id), delivery_mode=aio_pika.DeliveryMode.PERSISTENT
                    )
                    await exchange.publish(message, row.routing_key, mandatory=True, timeout=10)

            started, before, own = time.perf_counter(), costs.look(self._servers), time.process_time()
            await asyncio.gather(*(publish() for _ in range(IN_FLIGHT)))
            seconds = time.perf_counter() - started
            own = time.process_time() - own
        used = costs.between(before, costs.look(self._servers), seconds)
        await self._all_heard(count, count)
        return Round(count / seconds, costs.Used(seconds, {"aio-pika": own, **used.by_name}), count)

    async def _all_heard(self, published: int, count: int) -> None:
        """Count what the hearers' queues hold, and empty them.

        Raises:
            SystemExit: something is missing; a fast relay that loses messages is no relay.
        """
        held = await self._product.purge_queues()
        if (published, held) != (count, count * len(hearers())):
            raise SystemExit(f"of {count} messages {published} are published, {held} in {len(hearers())} queues")


async def measure(rounds: int, count: int, seed: str) -> tuple[list[Round], list[Round], list[str]]:
    """Start everything, run the rounds, stop everything."""
    facts = machine.facts()
    async with measured_servers(say) as servers:
        facts += await machine.server_facts(servers)
        async with product(servers) as ours:
            bench = Bench(servers, ours, seed)
            await bench.relay_round("warm-up", count // 4)
            await bench.plain_round("warm-up", count // 4)
            relay: list[Round] = []
            plain: list[Round] = []
            for number in range(rounds):
                pair = [(relay, bench.relay_round), (plain, bench.plain_round)]
                for done, play in pair if number % 2 == 0 else reversed(pair):
                    done.append(await play(f"{number}", count))
                    say(f"round {number + 1}: {'relay' if done is relay else 'aio-pika'} {done[-1].rate:,.0f}/s")
    return relay, plain, facts


def report(relay: Sequence[Round], plain: Sequence[Round], facts: Sequence[str], seed: str) -> Report:
    """The table; the goal is the median of the rounds."""
    rate = statistics.median(done.rate for done in relay)
    other = statistics.median(done.rate for done in plain)
    used = costs.together(done.used for done in relay)
    lines = [
        *facts,
        f"rounds    {len(relay)} of {relay[0].count} messages of about 2 KB, each to {len(hearers())} quorum queues",
        f"seed      {seed}",
        "",
        f"{'':<12}{'msg/s':>8}   cpu us per message",
        *(_row(name, rounds) for name, rounds in (("relay", relay), ("aio-pika", plain))),
        "",
        *(_listed(name, rounds) for name, rounds in (("relay", relay), ("aio-pika", plain))),
        f"binds     of one core each: {used.shares}; together {used.of_machine:.0%} of the machine",
        f"goal      {GOAL_PER_SECOND:,} confirmed messages per second",
        f"ratio {rate / other:.2f} of aio-pika without an outbox; {rate:,.0f}/s",
    ]
    missed = [f"{rate:,.0f}/s is below {GOAL_PER_SECOND:,}/s"] if rate < GOAL_PER_SECOND else []
    return Report("The relay that drains a filled outbox", "make bench-relay", lines, missed)


def _row(name: str, rounds: Sequence[Round]) -> str:
    used = costs.together(done.used for done in rounds)
    return f"{name:<12}{statistics.median(r.rate for r in rounds):>8,.0f}   {used.per(sum(r.count for r in rounds))}"


def _listed(name: str, rounds: Sequence[Round]) -> str:
    return f"{name:<10}" + "  ".join(f"{done.rate:,.0f}" for done in rounds)


def main() -> None:
    """Exit status 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="per round")
    parser.add_argument("--seed", default="", help="names the events; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    try:
        relay, plain, facts = asyncio.run(measure(given.rounds, given.messages, seed))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(relay, plain, facts, seed), given.evidence)


if __name__ == "__main__":
    main()
