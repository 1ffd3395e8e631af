"""`python -m bench.growth`: ten times the rows, and the same rates.

Two deployments on the same servers: one with the rows of a small shop in every table that storing and folding touch,
one with ten times as many. A round of each stores events at the webhook endpoint, whose relay publishes them, and then
starts checkout, which folds them. The rounds alternate; what counts is the large one's rate over the small one's.
"""

import argparse
import asyncio
import contextlib
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from bench import costs, evidence, machine, orders
from bench.events import stripe_event
from bench.evidence import Report, say
from bench.servers import measured_servers
from bench.targets import INGEST, Client, Product, order, product
from payments_shared.queries import parse_queries
from sandbox.services.resolver import Servers, ServersUnavailable

ROUNDS: Final = 5
REQUESTS: Final = 10_000
CONNECTIONS: Final = 64
SMALL_EVENTS: Final = 100_000
TIMES: Final = 10
EVENTS_PER_ORDER: Final = 5
CATALOG: Final = 100
LOSS_MAX: Final = 0.15
AT_ONCE: Final = 50_000
PAID_SECONDS_MAX: Final = 300.0
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Shop:
    """A deployment with its rows."""

    name: str
    product: Product
    owner: "orders.Owner[asyncpg.Record]"
    size: str


@dataclass(frozen=True, slots=True)
class Round:
    """Events per second: stored and answered; and folded until their orders were paid."""

    count: int
    ingest: float
    consume: float
    storing: costs.Used
    folding: costs.Used


async def fill(owner: "orders.Owner[asyncpg.Record]", events: int) -> str:
    """Put `events` events, their messages and a fifth as many orders into the tables; what there is, in words."""
    sample = stripe_event("old", 0, created=int(time.time()))
    await owner.execute("SET synchronous_commit = off")
    await owner.execute(_QUERIES["keep_partitions"])
    await owner.execute(_QUERIES["fill_catalog"], CATALOG * events // SMALL_EVENTS)
    for start in range(0, events, AT_ONCE):
        end = min(start + AT_ONCE, events)
        await owner.execute(_QUERIES["fill_events"], start, end, sample)
        await owner.execute(_QUERIES["fill_said"], start, end, sample)
        await owner.execute(_QUERIES["fill_heard"], start, end)
        await owner.execute(_QUERIES["fill_orders"], start // EVENTS_PER_ORDER, end // EVENTS_PER_ORDER)
    await owner.execute("RESET synchronous_commit")
    await owner.execute("VACUUM ANALYZE")
    await owner.execute("CHECKPOINT")
    row = await owner.fetchrow(_QUERIES["sizes"])
    assert row is not None
    counted = ", ".join(f"{row[name]:,} {name}" for name in ("events", "said", "heard", "orders"))
    return f"{counted}; {row['size']}"


class Bench:
    """The rounds."""

    def __init__(self, servers: Servers, seed: str) -> None:
        self._pids = costs.server_pids(servers)
        self._client = Client()
        self._seed = seed
        self._played = 0

    async def play(self, shop: Shop, count: int) -> Round:
        """Store `count` events that pay as many orders; then fold them."""
        self._played += 1
        run = f"{self._seed}-{self._played}"
        await orders.place_orders(shop.owner, run, count)
        await shop.owner.execute("CHECKPOINT")  # what the other one left to write is not this one's burden
        ingest, storing = await self._store(shop, run, count)
        consume, folding = await self._fold(shop, run, count)
        return Round(count, ingest, consume, storing, folding)

    async def _store(self, shop: Shop, run: str, count: int) -> tuple[float, costs.Used]:
        wanted = order(shop.product.port, shop.product.secret, count=count, connections=CONNECTIONS, run=run)
        pids = {INGEST: shop.product.child.pid, **self._pids}
        before = costs.look(pids)
        fired = await asyncio.to_thread(self._client.fire, wanted)
        await shop.product.drained()
        if fired.statuses != {"200": count}:
            raise SystemExit(f"answers other than 200: {fired.statuses}")
        return count / fired.seconds, costs.between(before, costs.look(pids), fired.seconds)

    async def _fold(self, shop: Shop, run: str, count: int) -> tuple[float, costs.Used]:
        deployment = shop.product.deployment
        deployment.start("checkout")
        pids = {"checkout": deployment.children["checkout"].pid, **self._pids}
        before, started = costs.look(pids), time.perf_counter()
        while await orders.count_paid(shop.owner, run, count) < count:
            if time.perf_counter() - started > PAID_SECONDS_MAX:
                raise SystemExit(f"not all paid after {PAID_SECONDS_MAX:.0f} s")
            await asyncio.sleep(0.25)
        used = costs.between(before, costs.look(pids), time.perf_counter() - started)
        row = await shop.owner.fetchrow(_QUERIES["taken"], run, count)
        deployment.stop("checkout")
        await shop.product.purge_queues()
        assert row is not None
        return row["after_first"] / row["seconds"], used

    def close(self) -> None:
        """End the client."""
        self._client.close()


@contextlib.asynccontextmanager
async def _shops(servers: Servers, events: int) -> AsyncIterator[tuple[Shop, Shop]]:
    async with contextlib.AsyncExitStack() as opened:
        made = []
        for name, rows in (("small", events), ("large", events * TIMES)):
            deployed = await opened.enter_async_context(product(servers))
            owner = await orders.connect(deployed.deployment.provisioned.owner_database_url)
            opened.push_async_callback(owner.close)
            say(f"filling the {name} one with {rows:,} events")
            made.append(Shop(name, deployed, owner, await fill(owner, rows)))
        yield made[0], made[1]


async def measure(
    rounds: int, requests: int, events: int, seed: str
) -> tuple[list[Shop], list[list[Round]], list[str]]:
    """Start everything, fill, run the rounds, stop everything."""
    facts = machine.facts()
    async with measured_servers(say) as servers:
        facts += await machine.server_facts(servers)
        async with _shops(servers, events) as shops:
            bench = Bench(servers, seed)
            for shop in shops:
                await bench.play(shop, requests // 5)
            played: list[list[Round]] = [[], []]
            for number in range(rounds):
                for which in (0, 1) if number % 2 == 0 else (1, 0):
                    played[which].append(await bench.play(shops[which], requests))
                    last = played[which][-1]
                    say(
                        f"round {number + 1}: {shops[which].name} {last.ingest:,.0f}/s in, {last.consume:,.0f}/s folded"
                    )
            bench.close()
    return list(shops), played, facts


def report(shops: Sequence[Shop], played: Sequence[Sequence[Round]], facts: Sequence[str], seed: str) -> Report:
    """The table, and the large one's rates over the small one's."""
    ingest = [statistics.median(r.ingest for r in rounds) for rounds in played]
    consume = [statistics.median(r.consume for r in rounds) for rounds in played]
    ratios = {"storing": ingest[1] / ingest[0], "folding": consume[1] / consume[0]}
    lines = [
        *facts,
        f"rounds    {len(played[0])} of {played[0][0].count} events, each stored, published and folded",
        f"seed      {seed}",
        *(f"{shop.name:<10}{shop.size}" for shop in shops),
        "",
        f"{'':<8}{'stored/s':>9}{'folded/s':>9}   cpu us per event, storing | folding",
        *(
            f"{shop.name:<8}{ingest[which]:>9,.0f}{consume[which]:>9,.0f}   {_used(played[which])}"
            for which, shop in enumerate(shops)
        ),
        "",
        *(
            f"{shop.name:<10}" + "  ".join(f"{r.ingest:,.0f} | {r.consume:,.0f}" for r in played[which])
            for which, shop in enumerate(shops)
        ),
        *(f"binds     {shop.name}: {_binds(played[which])}" for which, shop in enumerate(shops)),
        f"goal      {TIMES} times the rows take less than {LOSS_MAX:.0%} of either rate",
        f"ratio storing {ratios['storing']:.2f}, folding {ratios['folding']:.2f} of the small one's rate",
    ]
    missed = [
        f"{name} runs at {ratio:.2f} of the small one's rate" for name, ratio in ratios.items() if ratio < 1 - LOSS_MAX
    ]
    return Report("Ten times the rows", "make bench-growth", lines, missed)


def _used(rounds: Sequence[Round]) -> str:
    count = sum(r.count for r in rounds)
    return " | ".join(
        costs.together(part).per(count) for part in ([r.storing for r in rounds], [r.folding for r in rounds])
    )


def _binds(rounds: Sequence[Round]) -> str:
    storing, folding = costs.together(r.storing for r in rounds), costs.together(r.folding for r in rounds)
    return f"storing {storing.shares}; folding {folding.shares}; of one core each"


def main() -> None:
    """Exit status 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="per round")
    parser.add_argument(
        "--events", type=int, default=SMALL_EVENTS, help=f"of the small one; the other has {TIMES} times"
    )
    parser.add_argument("--seed", default="", help="names the events; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    try:
        shops, played, facts = asyncio.run(measure(given.rounds, given.requests, given.events, seed))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(shops, played, facts, seed), given.evidence)


if __name__ == "__main__":
    main()
