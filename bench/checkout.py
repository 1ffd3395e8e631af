"""`python -m bench.checkout`: how fast checkout brings carts to Stripe's payment page.

Two deployments on the same servers, one with the rows of a young shop and one with those of an old one. First carts
come to the old one at a constant rate while Stripe takes `STRIPE_SECONDS` for each session: what is left of the time
is our own. Then Stripe answers at once, and both are filled to the brim in turn: what one process can do, and whether
an old shop's orders cost more than a young one's.
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench import carts, costs, evidence, machine, orders
from bench.dialogue import Dialogue
from bench.evidence import Report, say
from bench.instant_stripe import DELAY_PATH
from bench.load import Fired
from bench.open_loop import Sent
from bench.servers import measured_servers
from payments_shared.messaging.topology import RETRY_TIERS_MS
from payments_shared.queries import parse_queries
from sandbox.services.children import clean_environment, listening, spawn
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers, ServersUnavailable

STRIPE_SECONDS: Final = 0.2
RATE: Final = 60.0
SECONDS: Final = 60.0
OWN_P50_MAX_SECONDS: Final = 0.015
OWN_P99_MAX_SECONDS: Final = 0.060
SATURATED_MIN: Final = 120.0
COSTLIER_MAX: Final = 0.15
ROUNDS: Final = 5
ROUND_ORDERS: Final = 1500
CONNECTIONS: Final = 32
YOUNG: Final = (1_000, 100)  # orders, products
OLD: Final = (200_000, 10_000)
AT_ONCE: Final = 20_000
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
_GROWTH: Final = parse_queries(Path(__file__).with_name("growth.sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Shop:
    """A deployment of checkout and inventory with its rows, and the Stripe it asks."""

    name: str
    deployment: Deployment
    owner: "orders.Owner[asyncpg.Record]"
    products: int
    size: str

    @property
    def pids(self) -> dict[str, int]:
        return {name: self.deployment.children[name].pid for name in ("checkout", "inventory")}

    def delay(self, seconds: float) -> None:
        """Have Stripe take so long for each session from now on."""
        request = urllib.request.Request(  # noqa: S310 - our own loopback process
            self.deployment.stripe_url + DELAY_PATH, data=str(seconds).encode(), method="PUT"
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            answer.read()


@dataclass(frozen=True, slots=True)
class Round:
    """Carts that were sent as fast as the answers came."""

    count: int
    fired: Fired
    used: costs.Used

    @property
    def rate(self) -> float:
        return self.count / self.fired.seconds

    @property
    def cpu_seconds(self) -> float:
        """What one order cost all processes together."""
        return sum(self.used.by_name.values()) / self.count


@dataclass(frozen=True, slots=True)
class Paced:
    """Carts that came at a constant rate."""

    count: int
    sent: Sent
    used: costs.Used


async def fill(owner: "orders.Owner[asyncpg.Record]", order_count: int, product_count: int) -> str:
    """Put products, their stock and old orders into the tables; what there is, in words."""
    await owner.execute("SET synchronous_commit = off")
    await owner.execute(_GROWTH["keep_partitions"])
    await owner.execute(_GROWTH["fill_catalog"], product_count)
    await owner.execute(_QUERIES["fill_stock"], product_count)
    for start in range(0, order_count, AT_ONCE):
        end = min(start + AT_ONCE, order_count)
        await owner.execute(_GROWTH["fill_orders"], start, end)
        await owner.execute(_QUERIES["fill_reservations"], start, end, product_count)
    await owner.execute("RESET synchronous_commit")
    await owner.execute("VACUUM ANALYZE")
    await owner.execute("CHECKPOINT")
    row = await owner.fetchrow(_QUERIES["sizes"])
    assert row is not None
    return f"{row['orders']:,} orders, {row['products']:,} products; {row['size']}"


class Bench:
    """The client, and what it is told."""

    def __init__(self, servers: Servers, seed: str) -> None:
        self._pids = costs.server_pids(servers)
        self._dialogue = Dialogue("bench.carts")
        self._seed = seed
        self._played = 0

    async def saturate(self, shop: Shop, count: int) -> Round:
        """Send `count` carts as fast as the answers come."""
        wanted = self._order(shop, count, connections=CONNECTIONS)
        told, used = await self._send(shop, wanted)
        fired = Fired(**told)
        await self._check(shop, wanted, fired.statuses)
        return Round(count, fired, used)

    async def pace(self, shop: Shop, rate: float, seconds: float) -> Paced:
        """Send carts at a constant rate."""
        wanted = self._order(shop, int(rate * seconds), rate=rate)
        told, used = await self._send(shop, wanted)
        sent = Sent(**told)
        await self._check(shop, wanted, sent.statuses)
        return Paced(wanted.count, sent, used)

    def _order(self, shop: Shop, count: int, **how: Any) -> carts.Order:  # Any: the numbers of an order
        self._played += 1
        port = shop.deployment.public["checkout"]
        return carts.Order(port, f"{self._seed}-{self._played}", count, shop.products, **how)

    async def _send(self, shop: Shop, wanted: carts.Order) -> tuple[dict[str, Any], costs.Used]:  # Any: JSON
        await shop.owner.execute("CHECKPOINT")  # what the other one left to write is not this one's burden
        await asyncio.to_thread(self._dialogue.ask, json.dumps(asdict(wanted)))
        pids = {**shop.pids, **self._pids}
        before, started = costs.look(pids), time.perf_counter()
        told = json.loads(await asyncio.to_thread(self._dialogue.ask, "go"))
        used = costs.between(before, costs.look(pids), time.perf_counter() - started)
        return told, costs.Used(used.seconds, {**used.by_name, "client": told["cpu_seconds"]})

    async def _check(self, shop: Shop, wanted: carts.Order, statuses: Mapping[str, int]) -> None:
        opened = await shop.owner.fetchval(_QUERIES["count_open"], wanted.run)
        if statuses != {"201": wanted.count} or opened != wanted.count:
            raise SystemExit(f"{wanted.count} carts: answers {dict(statuses)}, {opened} orders with a session")

    def close(self) -> None:
        """End the client."""
        self._dialogue.close()


@contextlib.asynccontextmanager
async def _shop(servers: Servers, name: str, order_count: int, product_count: int) -> AsyncIterator[Shop]:
    unlimited = {"PAYMENTS_PLACEMENTS_PER_ADDRESS": "0", "PAYMENTS_PLACEMENTS_PER_CUSTOMER": "0"}
    async with deploy(
        servers,
        namespace=f"bench_{secrets.token_hex(3)}",
        names=("inventory", "checkout"),
        retry_tiers_ms=RETRY_TIERS_MS,
        extra=unlimited,
    ) as deployment:
        port = deployment.ports["stripe"]
        stripe = spawn(
            "instant-stripe",
            [sys.executable, "-m", "bench.instant_stripe", str(port)],
            log=deployment.folder / "instant-stripe.log",
            environment=clean_environment(),
            cwd=Path.cwd(),
        )
        owner = await orders.connect(deployment.provisioned.owner_database_url)
        try:
            stripe.wait_until(lambda: listening(port), timeout_seconds=20)
            say(f"filling the {name} one with {order_count:,} orders and {product_count:,} products")
            yield Shop(name, deployment, owner, product_count, await fill(owner, order_count, product_count))
        finally:
            await owner.close()
            stripe.kill()


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that was measured. `rounds` are those of the young and of the old one."""

    shops: Sequence[Shop]
    paced: Paced
    rounds: tuple[list[Round], list[Round]]
    facts: list[str]


async def measure(rounds: int, seconds: float, seed: str) -> Result:
    """Start everything, fill, run, stop everything."""
    facts = machine.facts()
    async with measured_servers(say) as servers:
        facts += await machine.server_facts(servers)
        async with _shop(servers, "young", *YOUNG) as young, _shop(servers, "old", *OLD) as old:
            bench = Bench(servers, seed)
            for shop in (young, old):
                await bench.saturate(shop, ROUND_ORDERS // 5)
            old.delay(STRIPE_SECONDS)
            paced = await bench.pace(old, RATE, seconds)
            old.delay(0)
            say(f"at {RATE:g}/s: p50 {paced.sent.p50 * 1000:.0f} ms, p99 {paced.sent.p99 * 1000:.0f} ms")
            played: tuple[list[Round], list[Round]] = ([], [])
            for number in range(rounds):
                for which in (0, 1) if number % 2 == 0 else (1, 0):
                    shop = (young, old)[which]
                    played[which].append(await bench.saturate(shop, ROUND_ORDERS))
                    say(f"round {number + 1}: {shop.name} {played[which][-1].rate:,.0f}/s")
            bench.close()
    return Result((young, old), paced, played, facts)


def report(result: Result, seed: str) -> Report:
    """The table, and what the goals are to it."""
    sent, paced = result.paced.sent, result.paced
    own = [max(seconds - STRIPE_SECONDS, 0.0) for seconds in (sent.p50, sent.p99)]
    rates = [statistics.median(r.rate for r in rounds) for rounds in result.rounds]
    cpu = [statistics.median(r.cpu_seconds for r in rounds) for rounds in result.rounds]
    ratio = cpu[1] / cpu[0]
    lines = [
        *result.facts,
        f"seed      {seed}",
        *(f"{shop.name:<10}{shop.size}" for shop in result.shops),
        "",
        f"paced     {paced.count:,} carts at {RATE:g}/s to the old one, {STRIPE_SECONDS * 1000:.0f} ms at Stripe each",
        f"          with Stripe p50 {sent.p50 * 1000:.1f} ms, p99 {sent.p99 * 1000:.1f} ms, worst {sent.worst:.1f} s",
        f"          the client was late by {sent.late * 1000:.1f} ms at most",
        f"          cpu us per order: {paced.used.per(paced.count)}; of the machine {paced.used.of_machine:.0%}",
        f"own time  p50 {own[0] * 1000:.1f} ms, p99 {own[1] * 1000:.1f} ms",
        "",
        f"filled    {ROUND_ORDERS:,} carts a round, {CONNECTIONS} at a time, Stripe answers at once",
        f"{'':<8}{'orders/s':>9}{'p50 ms':>8}{'p99 ms':>8}   cpu us per order",
        *(_row(shop, rounds) for shop, rounds in zip(result.shops, result.rounds, strict=True)),
        "",
        *(
            f"{shop.name:<10}" + "  ".join(f"{r.rate:,.0f}" for r in rounds)
            for shop, rounds in zip(result.shops, result.rounds, strict=True)
        ),
        *(
            f"binds     {shop.name}: {costs.together([r.used for r in rounds]).shares}; of one core each"
            for shop, rounds in zip(result.shops, result.rounds, strict=True)
        ),
        f"goals     own time p50 {OWN_P50_MAX_SECONDS * 1000:.0f} ms, p99 {OWN_P99_MAX_SECONDS * 1000:.0f} ms",
        f"          {SATURATED_MIN:g}/s filled; an order costs the old one at most {COSTLIER_MAX:.0%} more",
        f"ratio {ratio:.2f} of the young one's cost; {rates[1]:,.0f}/s filled",
    ]
    missed = [
        complaint
        for is_missed, complaint in (
            (own[0] > OWN_P50_MAX_SECONDS, f"own p50 is {own[0] * 1000:.1f} ms"),
            (own[1] > OWN_P99_MAX_SECONDS, f"own p99 is {own[1] * 1000:.1f} ms"),
            (rates[1] < SATURATED_MIN, f"{rates[1]:.0f} orders a second when filled"),
            (ratio > 1 + COSTLIER_MAX, f"an order costs the old one {ratio:.2f} times as much"),
        )
        if is_missed
    ]
    return Report("From a cart to Stripe's page", "make bench-checkout", lines, missed)


def _row(shop: Shop, rounds: Sequence[Round]) -> str:
    rate, p50, p99 = (
        statistics.median(figures)
        for figures in zip(*((r.rate, r.fired.p50 * 1000, r.fired.p99 * 1000) for r in rounds), strict=True)
    )
    per_order = costs.together([r.used for r in rounds]).per(sum(r.count for r in rounds))
    return f"{shop.name:<8}{rate:>9,.0f}{p50:>8.0f}{p99:>8.0f}   {per_order}"


def main() -> None:
    """Exit status 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="at the constant rate")
    parser.add_argument("--seed", default="", help="names and fills the carts; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    try:
        result = asyncio.run(measure(given.rounds, given.seconds, seed))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(result, seed), given.evidence)


if __name__ == "__main__":
    main()
