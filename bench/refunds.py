"""`python -m bench.refunds`: how fast a refund is decided.

Twenty operators at once, each about orders of his own: from the request to the answer, which comes after the commit.
Beside them, in turn, the plain shape: the same lock, sum and row by twenty connections without a service. Then five
hundred requests at once about one order. Stripe is away: nothing is paid back, and nothing waits for it.
"""

import argparse
import asyncio
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import asyncpg

from bench import evidence, machine
from bench.evidence import Report, say
from payments_shared.ids import external_id
from payments_shared.messaging.topology import RETRY_TIERS_MS
from payments_shared.queries import parse_queries
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import ServersUnavailable, private_servers

OPERATORS: Final = 20
REQUESTS: Final = 2_000
ROUNDS: Final = 5
CROWD: Final = 500
P99_MAX_SECONDS: Final = 0.025
CROWD_MAX_SECONDS: Final = 10.0
CAPTURED: Final = 10_000
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Round:
    """What operators waited, in seconds, and how long all of it took."""

    waits: Sequence[float]
    seconds: float

    def percentile(self, share: float) -> float:
        """The wait that so many did not exceed."""
        return sorted(self.waits)[min(int(len(self.waits) * share), len(self.waits) - 1)]


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that was measured."""

    facts: Sequence[str]
    decided: Sequence[Round]
    plain: Sequence[Round]
    crowd_seconds: float
    answers: Counter[int]
    refunded: int


def _order(run: str, number: int) -> UUID:
    return UUID(md5(f"{run}{number}".encode(), usedforsecurity=False).hexdigest())


class Bench:
    """Operators with tokens, at the public port of refunds."""

    def __init__(
        self, deployment: Deployment, owner: "asyncpg.Pool[asyncpg.Record]", http: aiohttp.ClientSession
    ) -> None:
        self._deployment, self._owner, self._http = deployment, owner, http
        self._url = deployment.public_url("refunds") + "/api/payments/refund"

    async def loosen(self) -> None:
        """Let nothing wait for a second person."""
        token = self._deployment.keys.token("bench", "admin")
        limits = {"usd": 10**11}
        body = {
            "version": 0,
            "reason": "Measuring.",
            "per_refund": limits,
            "per_operator_day": limits,
            "per_customer_month": limits,
        }
        url = self._deployment.internal_url("refunds") + "/admin/refund-rules"
        async with self._http.put(url, json=body, headers={"Authorization": f"Bearer {token}"}) as answer:
            if answer.status != 200:
                raise SystemExit(await answer.text())

    async def ask(self, order: UUID, amount: int, operator: int) -> tuple[int, float]:
        """One request: the status, and the seconds until the answer."""
        token = self._deployment.keys.token(f"operator-{operator}", "support")
        body = {"order_id": external_id("ord", order), "amount_minor": amount, "reason": "goodwill"}
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(12)}
        started = time.perf_counter()
        async with self._http.post(self._url, json=body, headers=headers) as answer:
            await answer.read()
            return answer.status, time.perf_counter() - started

    async def decide(self, run: str, count: int) -> Round:
        """Operators who ask one after the other, each about orders of his own."""
        await self._owner.execute(_QUERIES["pay_orders"], run, count, CAPTURED)
        waits: list[float] = []

        async def work(operator: int) -> None:
            for number in range(operator + 1, count + 1, OPERATORS):
                status, seconds = await self.ask(_order(run, number), 100, operator)
                if status != 201:
                    raise SystemExit(f"a refund was answered {status}")
                waits.append(seconds)

        started = time.perf_counter()
        await asyncio.gather(*(work(operator) for operator in range(OPERATORS)))
        return Round(waits, time.perf_counter() - started)

    async def plain(self, run: str, count: int) -> Round:
        """The same lock, sum and row, and nothing else."""
        await self._owner.execute(_QUERIES["pay_orders"], run, count, CAPTURED)
        waits: list[float] = []

        async def work(operator: int) -> None:
            async with self._owner.acquire() as connection:
                for number in range(operator + 1, count + 1, OPERATORS):
                    intent = f"pi_{_order(run, number).hex}"
                    started = time.perf_counter()
                    async with connection.transaction():
                        await connection.fetchval(_QUERIES["plain_lock"], intent)
                        await connection.fetchval(_QUERIES["plain_sum"], intent)
                        await connection.execute(_QUERIES["plain_insert"], intent, 100)
                    waits.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(work(operator) for operator in range(OPERATORS)))
        return Round(waits, time.perf_counter() - started)

    async def crowd(self, run: str) -> tuple[float, Counter[int], int]:
        """Everybody at once about one order, of which there is enough for half of them."""
        await self._owner.execute(_QUERIES["pay_orders"], run, 1, CROWD * 50)
        started = time.perf_counter()
        found = await asyncio.gather(*(self.ask(_order(run, 1), 100, number) for number in range(CROWD)))
        seconds = time.perf_counter() - started
        return seconds, Counter(status for status, _ in found), await self._owner.fetchval(_QUERIES["spent"], run)


async def measure(rounds: int, seed: str) -> Result:
    """Start everything, run, stop everything."""
    facts = machine.facts()
    with private_servers(durable=True, say=say) as servers:
        facts += await machine.server_facts(servers)
        namespace = f"bench_{secrets.token_hex(3)}"
        async with (
            deploy(servers, namespace=namespace, names=("refunds",), retry_tiers_ms=RETRY_TIERS_MS) as deployment,
            asyncpg.create_pool(
                deployment.provisioned.owner_database_url, min_size=OPERATORS, max_size=OPERATORS
            ) as owner,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CROWD)) as http,
        ):
            await owner.execute(_QUERIES["plain_table"])
            bench = Bench(deployment, owner, http)
            await bench.loosen()
            await bench.decide(f"{seed}-warm-", REQUESTS // 4)
            decided, plain = [], []
            for number in range(rounds):
                decided.append(await bench.decide(f"{seed}-{number}-", REQUESTS))
                plain.append(await bench.plain(f"{seed}-{number}-plain-", REQUESTS))
                say(f"round {number + 1}: p99 {decided[-1].percentile(0.99) * 1000:.1f} ms")
            return Result(facts, decided, plain, *await bench.crowd(f"{seed}-crowd-"))


def report(result: Result, seed: str) -> Report:
    """The table, and what the goals are to it."""
    p99 = statistics.median(one.percentile(0.99) for one in result.decided)
    rates = [
        statistics.median(len(one.waits) / one.seconds for one in rounds) for rounds in (result.decided, result.plain)
    ]
    lines = [
        *result.facts,
        f"seed      {seed}",
        "",
        f"{OPERATORS} operators at once, {REQUESTS:,} refunds a round, each of an order of its own",
        f"{'':<22}{'per s':>8}{'p50 ms':>8}{'p99 ms':>8}{'worst ms':>9}",
        *(
            f"{name:<22}{rate:>8,.0f}"
            + "".join(
                f"{statistics.median(one.percentile(share) for one in rounds) * 1000:>{width}.1f}"
                for share, width in ((0.5, 8), (0.99, 8), (1.0, 9))
            )
            for name, rounds, rate in (
                ("request to answer", result.decided, rates[0]),
                ("lock, sum, row alone", result.plain, rates[1]),
            )
        ),
        "",
        f"crowd     {CROWD} at once about one order: {result.crowd_seconds:.1f} s",
        f"          answers {dict(sorted(result.answers.items()))}, {result.refunded:,} of {CROWD * 50:,} given back",
        f"goals     p99 {P99_MAX_SECONDS * 1000:.0f} ms; the crowd within {CROWD_MAX_SECONDS:.0f} s, half refused",
        f"ratio {rates[0] / rates[1]:.2f} of the plain shape's rate",
    ]
    right = result.answers == {201: CROWD // 2, 409: CROWD // 2} and result.refunded == CROWD * 50
    missed = [
        complaint
        for is_missed, complaint in (
            (p99 > P99_MAX_SECONDS, f"p99 is {p99 * 1000:.1f} ms"),
            (result.crowd_seconds > CROWD_MAX_SECONDS, f"the crowd took {result.crowd_seconds:.1f} s"),
            (not right, "the crowd was answered otherwise than half and half"),
        )
        if is_missed
    ]
    return Report("How fast a refund is decided", "make bench-refunds", lines, missed)


def main() -> None:
    """Exit status 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", default="", help="names the orders; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    try:
        result = asyncio.run(measure(given.rounds, seed))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(result, seed), given.evidence)


if __name__ == "__main__":
    main()
