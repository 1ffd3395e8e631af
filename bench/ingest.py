"""`python -m bench.ingest`: the webhook endpoint against a handler that only verifies the signature.

Both servers run all the time; rounds alternate between them, so that a machine that drifts drifts for both. Every
event is new: verified, committed durably with its outbox row before the 200, and published by the relay, which gives
way while a burst is answered. So there are two rates: that of the answers, and one until the last event is published.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench import machine, report
from bench.load import Fired
from bench.report import Options, Result, Round
from bench.servers import measured_servers
from bench.targets import Client, Product, answerer, cpu_seconds, order, product, verify_only
from sandbox.services.children import Child
from sandbox.services.resolver import Servers, ServersUnavailable

ROUNDS: Final = 5
CONNECTIONS: Final = 64
REQUESTS: Final = 15_000
WARM_UP_REQUESTS: Final = 5_000


class Bench:
    """The rounds. One client fires at both servers in turn."""

    def __init__(self, servers: Servers, under_test: Product, baseline: Child, port: int, options: Options) -> None:
        self._servers = servers
        self._product = under_test
        self._baseline = baseline
        self._port = port
        self._options = options
        self._client = Client()
        self._sent = 0

    async def run(self) -> Result:
        """Warm up, then alternate; the one that began a pair comes second in the next."""
        await self._verify_round("warm-up", WARM_UP_REQUESTS)
        await self._product_round("warm-up", WARM_UP_REQUESTS)
        verify: list[Round] = []
        ours: list[Round] = []
        for number in range(self._options.rounds):
            pair = [(verify, self._verify_round), (ours, self._product_round)]
            for rounds, play in pair if number % 2 == 0 else reversed(pair):
                rounds.append(await play(f"{number}", self._options.requests))
                say(f"round {number + 1}: {'verify only' if rounds is verify else 'product'} {rounds[-1].rate:,.0f}/s")
        alone = await self._alone()
        self._client.close()
        return Result(verify, ours, alone, self._sent, await self._product.stored())

    async def _verify_round(self, name: str, count: int) -> Round:
        before = cpu_seconds(self._baseline.pid)
        fired = await self._fire(self._port, f"verify-{name}", count)
        return Round(fired, cpu_seconds(self._baseline.pid) - before)

    async def _product_round(self, name: str, count: int) -> Round:
        before = self._cpu()
        fired = await self._fire(self._product.port, f"product-{name}", count)
        self._sent += count
        after = self._cpu()
        behind = await self._product.unpublished()
        started = time.perf_counter()
        await self._product.drained()
        drain = time.perf_counter() - started
        await self._product.purge_queues()
        used = [b - a for a, b in zip(before, after, strict=True)]
        return Round(fired, used[0], (used[1], used[2]), behind, drain)

    def _cpu(self) -> tuple[float, float, float]:
        postgres, rabbitmq = self._servers.postgres, self._servers.rabbitmq
        assert postgres is not None
        assert rabbitmq is not None
        assert postgres.child is not None
        assert rabbitmq.child is not None
        pids = (self._product.child.pid, postgres.child.pid, rabbitmq.child.pid)
        return cpu_seconds(pids[0]), cpu_seconds(pids[1]), cpu_seconds(pids[2])

    async def _alone(self) -> Fired:
        """The client against a server that answers a fixed text: what it can do."""
        with answerer() as port:
            return await self._fire(port, "alone", self._options.requests)

    async def _fire(self, port: int, run: str, count: int) -> Fired:
        wanted = order(
            port,
            self._product.secret,
            count=count,
            connections=self._options.connections,
            run=f"{self._options.seed}-{run}",
        )
        return await asyncio.to_thread(self._client.fire, wanted)


async def measure(options: Options) -> tuple[Result, list[str]]:
    """Start everything, run the rounds, stop everything."""
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as scratch:
        async with measured_servers(say) as servers:
            facts += await machine.server_facts(servers)
            async with product(servers) as ours:
                with verify_only(ours.secret, Path(scratch)) as (baseline, port):
                    return await Bench(servers, ours, baseline, port, options).run(), facts


def say(line: str) -> None:
    """Progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Exit status 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="per round")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seed", default="", help="names the events; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    options = Options(given.rounds, given.requests, given.connections, given.seed or secrets.token_hex(4))
    try:
        result, facts = asyncio.run(measure(options))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    lines = report.table(result, facts, options)
    print("\n".join(lines), flush=True)
    if given.evidence:
        given.evidence.parent.mkdir(parents=True, exist_ok=True)
        title = "# The webhook endpoint against a handler that only verifies"
        given.evidence.write_text("\n".join([title, "", "Made by `make bench-ingest`.", "", "```", *lines, "```", ""]))
    raise SystemExit(1 if result.complaints else 0)


if __name__ == "__main__":
    main()
