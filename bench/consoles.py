"""`python -m bench.consoles`: a thousand open consoles, and people who look for one of a hundred thousand dead letters.

Every console is signed in, shows Home, and asks for its parts as that page does. Beside that people open lists and
search, so many a second in all, whatever the answers do. All of it goes to one process of operations, among the other
services; what ends TLS before it is left out.
"""

import argparse
import asyncio
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import asyncpg

from bench import browsers, clicks, costs, evidence, failures, machine, orders
from bench.browsers import Part
from bench.dialogue import Dialogue
from bench.events import intent_event
from bench.evidence import Report, say
from bench.refunds import percentile
from bench.servers import measured_servers
from operations.decide import sealing
from operations.decide.signing_in import token_hash
from payments_shared.contracts.catalog import SERVICES
from payments_shared.messaging.topology import RETRY_TIERS_MS
from payments_shared.queries import parse_queries
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers, ServersUnavailable

CONSOLES: Final = 1_000
RATE: Final = 100.0
SECONDS: Final = 60.0
WARM_SECONDS: Final = 10.0
UNSETTLED: Final = 100_000
SETTLED: Final = 20_000
MESSAGES: Final = 100_000
AT_ONCE: Final = 20_000
P99_MAX_SECONDS: Final = browsers.SLOW_SECONDS
TOKEN_SECONDS: Final = 3000
HOME: Final = (Part("/console/attention", 10.0), Part("/console/services", 10.0), Part("/console/decisions", 60.0))
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Result:
    """What was there, what was asked, and what came back."""

    facts: Sequence[str]
    size: Sequence[str]
    order: browsers.Order
    played: browsers.Played
    used: costs.Used


async def fill(owner: "orders.Owner[asyncpg.Record]") -> list[str]:
    """Put messages and dead letters into the tables; what there is, in words."""
    sample, spread = intent_event("old", 0, created=int(time.time())), 7 * 86_400 / MESSAGES
    ways = json.dumps(failures.ways())
    await owner.execute("SET synchronous_commit = off")
    for start in range(0, MESSAGES, AT_ONCE):
        await owner.execute(_QUERIES["fill_messages"], start, start + AT_ONCE, sample.decode(), spread)
    for start in range(0, UNSETTLED + SETTLED, AT_ONCE):
        await owner.execute(_QUERIES["fill_letters"], start, start + AT_ONCE, UNSETTLED, ways, sample)
    await owner.execute(_QUERIES["fill_attempts"])
    await owner.execute(_QUERIES["fill_audit"])
    await owner.execute("RESET synchronous_commit")
    await owner.execute("VACUUM ANALYZE")
    await owner.execute("CHECKPOINT")
    row = await owner.fetchrow(_QUERIES["sizes"])
    assert row is not None
    return [
        f"letters   {row['letters']:,} dead letters, {row['unsettled']:,} of them unsettled in {row['ways']} groups",
        f"          bodies of {row['body_bytes']:,} bytes; {row['letters_size']}",
        f"orders    {row['orders']:,} orders with {row['messages']:,} messages; {row['messages_size']}",
    ]


async def sign_in(owner: "orders.Owner[asyncpg.Record]", deployment: Deployment, count: int) -> list[str]:
    """Sessions of `count` people with their tokens for the services, as the way over the identity provider opens them;
    their cookies."""
    cookies, rows = [secrets.token_hex(32) for _ in range(count)], []
    for number, cookie in enumerate(cookies):
        role = "operator" if number % 2 else "viewer"
        access = deployment.keys.token(f"console-{number}", role, seconds=TOKEN_SECONDS)
        rows.append((token_hash(cookie), f"console-{number}", [role], sealing.sealed(cookie, access)))
    await owner.executemany(_QUERIES["sign_in"], rows)
    return cookies


async def play(servers: Servers, deployment: Deployment, order: browsers.Order) -> tuple[browsers.Played, costs.Used]:
    """Open the consoles and let people click."""
    dialogue = Dialogue("bench.browsers")
    pids = {"operations": deployment.children["operations"].pid, **costs.server_pids(servers)}
    await asyncio.to_thread(dialogue.ask, json.dumps(asdict(order)))
    say(f"{len(order.tokens):,} consoles are open, and people click for {order.warm + order.seconds:g} s")
    before, started = costs.look(pids), time.perf_counter()
    played = browsers.Played(**json.loads(await asyncio.to_thread(dialogue.ask, "go")))
    used = costs.between(before, costs.look(pids), time.perf_counter() - started)
    dialogue.close()
    return played, costs.Used(used.seconds, {**used.by_name, "client": played.cpu_seconds})


async def measure(consoles: int, rate: float, seconds: float, seed: str) -> Result:
    """Start everything, fill, play, stop everything."""
    facts = machine.facts()
    async with measured_servers(say) as servers:
        facts += await machine.server_facts(servers)
        namespace, names = f"bench_{secrets.token_hex(3)}", ("stripe", "mailbox", *SERVICES)
        async with deploy(servers, namespace=namespace, names=names, retry_tiers_ms=RETRY_TIERS_MS) as deployment:
            owner = await orders.connect(deployment.provisioned.owner_database_url)
            say(f"filling with {UNSETTLED + SETTLED:,} dead letters")
            size = await fill(owner)
            tokens = await sign_in(owner, deployment, consoles)
            wanted = await clicks.drawn_from(owner)
            await owner.close()
            port = deployment.public["operations"]
            order = browsers.Order(port, seed, tokens, HOME, wanted, rate, seconds, WARM_SECONDS)
            return Result(facts, size, order, *await play(servers, deployment, order))


def report(result: Result) -> Report:
    """The table, and the slowest kind beside what it may take."""
    order, times = result.order, result.played.times
    parts = sum(len(order.tokens) / part.every for part in order.parts)
    every = ", ".join(f"{part.path.rpartition('/')[2]} every {part.every:g} s" for part in order.parts)
    slowest = max(percentile(times[kind], 0.99) for kind in times)
    lines = [
        *result.facts,
        f"seed      {order.seed}",
        *result.size,
        f"consoles  {len(order.tokens):,} signed in, each with a connection of its own and Home open",
        f"          of each: {every}; {parts:.0f} requests/s",
        f"asked     {order.rate:g} lists, searches and messages a second beside these, for {order.seconds:g} s",
        _slow(result.played),
        f"          the client was late by {result.played.late * 1000:.1f} ms at most",
        "",
        f"{'':<28}{'requests':>9}{'p50 ms':>8}{'p99 ms':>8}{'worst ms':>9}{'KB':>6}",
        *(_row(kind, times[kind], result.played.sizes[kind]) for kind in clicks.WEIGHTS if kind in times),
        _row("all of these", *_together(result.played, clicks.WEIGHTS)),
        "",
        *(
            _row(part.path, times[part.path], result.played.sizes[part.path])
            for part in order.parts
            if part.path in times
        ),
        "",
        f"binds     {result.used.shares}; of one core each",
        f"goal      p99 {P99_MAX_SECONDS * 1000:.0f} ms of every kind, and no answer that is another page or none",
        f"ratio {slowest / P99_MAX_SECONDS:.2f} of the time that the slowest kind may take",
    ]
    return Report("A thousand open consoles", "make bench-consoles", lines, list(_missed(result.played)))


def _together(played: browsers.Played, kinds: Iterable[str]) -> tuple[list[float], int]:
    there = [kind for kind in kinds if kind in played.times]
    return [one for kind in there for one in played.times[kind]], sum(played.sizes[kind] for kind in there)


def _slow(played: browsers.Played) -> str:
    count, seconds = sum(played.slow.values()), sorted(map(int, played.slow))
    when = f", due in the seconds {', '.join(map(str, seconds))}" if seconds else ""
    return f"slow      {count:,} took more than {browsers.SLOW_SECONDS * 1000:.0f} ms{when}"


def _missed(played: browsers.Played) -> Iterator[str]:
    for kind, times in played.times.items():
        if (p99 := percentile(times, 0.99)) > P99_MAX_SECONDS:
            yield f"{kind}: p99 is {p99 * 1000:.1f} ms"
    for what, count in list(played.wrong.items())[:10]:
        yield f"{count} wrong answers, {what}"


def _row(name: str, times: Sequence[float], size: int) -> str:
    shares = ((0.5, 8), (0.99, 8), (1.0, 9))
    told = "".join(f"{percentile(times, share) * 1000:>{width}.1f}" for share, width in shares)
    return f"{name:<28}{len(times):>9,}{told}{size / len(times) / 1024:>6.0f}"


def main() -> None:
    """Exit status 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consoles", type=int, default=CONSOLES)
    parser.add_argument("--rate", type=float, default=RATE, help="lists and searches a second")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", default="", help="draws the pages; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    try:
        result = asyncio.run(measure(given.consoles, given.rate, given.seconds, seed))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(result), given.evidence)


if __name__ == "__main__":
    main()
