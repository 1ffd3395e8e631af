"""`python -m bench.refunds`: how fast a refund is decided.

Twenty operators, each about orders of his own. First each asks once a second, whatever the answers do; then each asks
again as soon as he is answered, so that the service is never at rest. Measured are the time from the request to its
answer, and the time for which the decision held the lock of its order, which ends after the commit. Beside them, in
turn, the plain shape: the same lock, sum and row by twenty connections without a service. Then five hundred requests at
once about one order. Stripe is away: nothing is paid back, and nothing waits for it.
"""

import argparse
import asyncio
import json
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import md5
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import asyncpg

from bench import costs, evidence, machine, operators
from bench.dialogue import Dialogue
from bench.evidence import Report, say
from bench.servers import measured_servers
from payments_shared.ids import external_id
from payments_shared.messaging.topology import RETRY_TIERS_MS
from payments_shared.queries import parse_queries
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers, ServersUnavailable

OPERATORS: Final = 20
REQUESTS: Final = 2_000
ROUNDS: Final = 5
RATE: Final = 20.0  # one a second by each of them, which no person keeps up
SECONDS: Final = 45.0
CROWD: Final = 500
P99_MAX_SECONDS: Final = 0.025
CROWD_MAX_SECONDS: Final = 10.0
CAPTURED: Final = 10_000
AMOUNT: Final = 100
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Round:
    """What operators waited, and how long locks were held, in seconds; `seconds` is how long all of it took."""

    waits: Sequence[float]
    holds: Sequence[float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that was measured. `late`: how long after its moment the client sent a request, at worst."""

    facts: Sequence[str]
    paced: Mapping[str, Round]
    filled: Mapping[str, Sequence[Round]]
    late: float
    used: costs.Used
    crowd_seconds: float
    answers: Counter[int]
    refunded: int


def percentile(times: Iterable[float], share: float) -> float:
    """The time that so many did not exceed."""
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _order(run: str, number: int) -> UUID:
    return UUID(md5(f"{run}{number}".encode(), usedforsecurity=False).hexdigest())


class Bench:
    """Operators with tokens, at the public port of refunds."""

    def __init__(self, servers: Servers, deployment: Deployment, owner: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._deployment, self._owner = deployment, owner
        self._pids = {"refunds": deployment.children["refunds"].pid, **costs.server_pids(servers)}
        self._dialogue = Dialogue("bench.operators")
        self.late = 0.0
        self.used: list[costs.Used] = []

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
            "window_days": None,
            "final_sale": [],
            "second_person_score": 100,
            "refund_warned_up_to": {},
        }
        url = self._deployment.internal_url("refunds") + "/admin/refund-rules"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
            http.put(url, json=body) as answer,
        ):
            if answer.status != 200:
                raise SystemExit(await answer.text())

    async def decide(self, run: str, count: int, *, rate: float = 0.0) -> Round:
        """Operators who ask at a `rate`, or else each again when he is answered."""
        await self._owner.execute(_QUERIES["pay_orders"], run, count, CAPTURED)
        about = [external_id("ord", _order(run, number)) for number in range(1, count + 1)]
        wanted = operators.Order(self._deployment.public["refunds"], run, about, self._tokens(run), AMOUNT, rate)
        await asyncio.to_thread(self._dialogue.ask, json.dumps(asdict(wanted)))
        before, started = costs.look(self._pids), time.perf_counter()
        played = operators.Played(**json.loads(await asyncio.to_thread(self._dialogue.ask, "go")))
        used = costs.between(before, costs.look(self._pids), time.perf_counter() - started)
        if played.statuses != {"201": count} or len(played.decisions) != count:
            raise SystemExit(f"{count} refunds: answers {played.statuses}, {len(played.decisions)} decisions")
        if rate:
            self.late = max(self.late, played.late)
        else:
            self.used.append(costs.Used(used.seconds, {**used.by_name, "client": played.cpu_seconds}))
        return Round(played.waits, played.decisions, played.seconds)

    def _tokens(self, run: str) -> list[str]:
        """Operators of each round are others: nobody gives back a thousand times a day."""
        return [self._deployment.keys.token(f"{run}operator-{number}", "support") for number in range(OPERATORS)]

    async def plain(self, run: str, count: int, *, rate: float = 0.0) -> Round:
        """The same lock, sum and row, and nothing else."""
        await self._owner.execute(_QUERIES["pay_orders"], run, count, CAPTURED)
        waits: list[float] = []
        holds: list[float] = []
        started = time.perf_counter()

        async def work(operator: int) -> None:
            async with self._owner.acquire() as connection:
                for number in range(operator, count, OPERATORS):
                    due = started + number / rate if rate else time.perf_counter()
                    await asyncio.sleep(max(due - time.perf_counter(), 0))
                    intent = f"pi_{_order(run, number + 1).hex}"
                    async with connection.transaction():
                        await connection.fetchval(_QUERIES["plain_lock"], intent)
                        locked = time.perf_counter()
                        await connection.fetchval(_QUERIES["plain_sum"], intent)
                        await connection.execute(_QUERIES["plain_insert"], intent, AMOUNT)
                    now = time.perf_counter()
                    waits.append(now - due)
                    holds.append(now - locked)

        await asyncio.gather(*(work(operator) for operator in range(OPERATORS)))
        return Round(waits, holds, time.perf_counter() - started)

    async def crowd(self, run: str) -> tuple[float, Counter[int], int]:
        """Everybody at once about one order, of which there is enough for half of them."""
        await self._owner.execute(_QUERIES["pay_orders"], run, 1, CROWD * AMOUNT // 2)
        url = self._deployment.public_url("refunds") + operators.PATH
        body = {"order_id": external_id("ord", _order(run, 1)), "amount_minor": AMOUNT, "reason": "goodwill"}
        tokens = self._tokens(run)

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CROWD)) as http:

            async def ask(number: int) -> int:
                headers = {
                    "Authorization": f"Bearer {tokens[number % OPERATORS]}",
                    "Idempotency-Key": secrets.token_hex(12),
                }
                async with http.post(url, json=body, headers=headers) as answer:
                    await answer.read()
                    return answer.status

            started = time.perf_counter()
            found = await asyncio.gather(*(ask(number) for number in range(CROWD)))
            seconds = time.perf_counter() - started
        return seconds, Counter(found), await self._owner.fetchval(_QUERIES["spent"], run)

    def close(self) -> None:
        """End the client."""
        self._dialogue.close()


async def measure(rounds: int, seconds: float, seed: str) -> Result:
    """Start everything, run, stop everything."""
    facts = machine.facts()
    async with measured_servers(say) as servers:
        facts += await machine.server_facts(servers)
        namespace = f"bench_{secrets.token_hex(3)}"
        async with (
            deploy(servers, namespace=namespace, names=("refunds",), retry_tiers_ms=RETRY_TIERS_MS) as deployment,
            asyncpg.create_pool(
                deployment.provisioned.owner_database_url, min_size=OPERATORS, max_size=OPERATORS
            ) as owner,
        ):
            await owner.execute(_QUERIES["plain_table"])
            bench = Bench(servers, deployment, owner)
            await bench.loosen()
            await bench.decide(f"{seed}-warm-", REQUESTS // 4)
            bench.used.clear()
            count = int(RATE * seconds)
            paced = {
                "decided": await bench.decide(f"{seed}-paced-", count, rate=RATE),
                "plain": await bench.plain(f"{seed}-paced-plain-", count, rate=RATE),
            }
            say(f"at {RATE:g}/s: lock to commit p99 {percentile(paced['decided'].holds, 0.99) * 1000:.1f} ms")
            filled: dict[str, list[Round]] = {"decided": [], "plain": []}
            for number in range(rounds):
                filled["decided"].append(await bench.decide(f"{seed}-{number}-", REQUESTS))
                filled["plain"].append(await bench.plain(f"{seed}-{number}-plain-", REQUESTS))
                last = filled["decided"][-1]
                say(f"round {number + 1}: lock to commit p99 {percentile(last.holds, 0.99) * 1000:.1f} ms")
            crowd = await bench.crowd(f"{seed}-crowd-")
            bench.close()
            return Result(facts, paced, filled, bench.late, costs.together(bench.used), *crowd)


def report(result: Result, seed: str) -> Report:
    """The table, and what the goals are to it."""
    rates = {
        name: statistics.median(len(one.waits) / one.seconds for one in rounds)
        for name, rounds in result.filled.items()
    }
    together = {
        name: Round([w for one in rounds for w in one.waits], [h for one in rounds for h in one.holds], 0.0)
        for name, rounds in result.filled.items()
    }
    count = len(together["decided"].waits)
    paced, filled = result.paced["decided"], together["decided"]
    columns = f"{'':<28}{'p50 ms':>8}{'p99 ms':>8}{'worst ms':>9}"
    lines = [
        *result.facts,
        f"seed      {seed}",
        "",
        f"paced     {OPERATORS} operators, each asks once a second; {len(paced.waits):,} refunds, an order each",
        columns,
        _row("lock to commit", paced.holds),
        _row("request to answer", paced.waits),
        _row("plain: lock to commit", result.paced["plain"].holds),
        f"          the client was late by {result.late * 1000:.1f} ms at most",
        "",
        f"filled    {OPERATORS} operators, each asks again when he is answered; {count:,} refunds, an order each",
        columns,
        _row("lock to commit", filled.holds),
        _row("request to answer", filled.waits),
        _row("plain: lock to commit", together["plain"].holds),
        _row("plain: all of it", together["plain"].waits),
        f"          {rates['decided']:,.0f} refunds a second, {rates['plain']:,.0f} of the plain shape",
        f"          cpu us per refund: {result.used.per(count)}",
        f"binds     {result.used.shares}; of one core each",
        "",
        f"crowd     {CROWD} at once about one order: {result.crowd_seconds:.1f} s",
        f"          answers {dict(sorted(result.answers.items()))}, {result.refunded:,} minor units given back",
        f"goals     p99 {P99_MAX_SECONDS * 1000:.0f} ms: lock to commit, and of the paced ones the answer too",
        f"          the crowd within {CROWD_MAX_SECONDS:.0f} s, half of it refused",
        f"ratio {rates['decided'] / rates['plain']:.2f} of the plain shape's rate",
    ]
    return Report("How fast a refund is decided", "make bench-refunds", lines, list(_missed(result, filled)))


def _missed(result: Result, filled: Round) -> Iterable[str]:
    paced = result.paced["decided"]
    for name, times in (
        ("paced, lock to commit", paced.holds),
        ("paced, request to answer", paced.waits),
        ("filled, lock to commit", filled.holds),
    ):
        if (p99 := percentile(times, 0.99)) > P99_MAX_SECONDS:
            yield f"{name}: p99 is {p99 * 1000:.1f} ms"
    if result.crowd_seconds > CROWD_MAX_SECONDS:
        yield f"the crowd took {result.crowd_seconds:.1f} s"
    if result.answers != {201: CROWD // 2, 409: CROWD // 2} or result.refunded != CROWD * AMOUNT // 2:
        yield "the crowd was answered otherwise than half and half"


def _row(name: str, times: Sequence[float]) -> str:
    shares = ((0.5, 8), (0.99, 8), (1.0, 9))
    return f"{name:<28}" + "".join(f"{percentile(times, share) * 1000:>{width}.1f}" for share, width in shares)


def main() -> None:
    """Exit status 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="at the constant rate")
    parser.add_argument("--seed", default="", help="names the orders; random by default")
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
