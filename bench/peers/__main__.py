"""`python -m bench.peers`: our webhook endpoint beside dj-stripe's and stripe-sync-engine's, with the same events.

All use the same durable PostgreSQL; rounds alternate, 64 requests are under way at any time. What cannot be set up on
this machine is named with its reason, and counts as a goal that was not reached.
"""

import argparse
import asyncio
import contextlib
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import costs, evidence, machine
from bench.evidence import Report, say
from bench.peers.environments import NODE_PACKAGES, PYTHON_PACKAGES, Unavailable
from bench.peers.firing import Fired, fire, signed
from bench.peers.running import SYNC_WORKERS, Endpoint, dj_stripe, ours, stripe_sync_engine
from bench.servers import measured_servers
from bench.targets import product
from sandbox.services.resolver import ServersUnavailable

ROUNDS: Final = 3
REQUESTS: Final = 15_000
WARM_UP: Final = 0.1
AT_ONCE: Final = 64
P99_MAX_SECONDS: Final = 0.060
OURS: Final = "payments"
FACTORS: Final = {"stripe-sync-engine": 1.5, "dj-stripe, stores only": 20.0, "dj-stripe": 20.0}


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one endpoint. `settling_seconds` went by from the last answer until nothing was left to do."""

    fired: Fired
    used: costs.Used
    settling_seconds: float


@dataclass(slots=True)
class Played:
    """An endpoint and its rounds; `sent` counts the warm-up too."""

    endpoint: Endpoint
    rounds: list[Round] = field(default_factory=list)
    sent: int = 0
    stored: int = 0

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return statistics.median(played.fired.rate for played in self.rounds)

    @property
    def sustained(self) -> float:
        """The same with the time until nothing was left to do."""
        return statistics.median(
            played.fired.count / (played.fired.seconds + played.settling_seconds) for played in self.rounds
        )

    @property
    def p99(self) -> float:
        """The median of the rounds, in seconds."""
        return statistics.median(played.fired.p99 for played in self.rounds)

    def complaints(self) -> list[str]:
        """What is simply wrong."""
        name = self.endpoint.name
        bad = {s: n for played in self.rounds for s, n in played.fired.statuses.items() if s != "200"}
        found = [f"{name} answered {bad}"] if bad else []
        if self.stored != self.sent:
            found.append(f"{name} got {self.sent} different events and has {self.stored}")
        return found


async def play(played: Played, run: str, count: int) -> Round:
    """Fire one round and wait until nothing is left to do."""
    endpoint = played.endpoint
    requests = list(signed(endpoint.target, endpoint.bodies(run), count))
    before = costs.look(endpoint.pids)
    fired = await asyncio.to_thread(fire, endpoint.target.port, requests, AT_ONCE)
    used = costs.between(before, costs.look(endpoint.pids), fired.seconds)
    played.sent += count
    answered = time.perf_counter()
    await endpoint.settled()
    return Round(fired, used, time.perf_counter() - answered)


async def measure(rounds: int, requests: int, seed: str) -> tuple[list[Played], dict[str, str], list[str]]:
    """Set everything up, run the rounds, remove everything; also which peers there were none of, and why."""
    facts, absent = machine.facts(), {}
    async with contextlib.AsyncExitStack() as opened:
        servers = await opened.enter_async_context(measured_servers(say))
        facts += await machine.server_facts(servers)
        assert servers.postgres is not None
        endpoints = [ours(await opened.enter_async_context(product(servers)), servers.postgres)]
        for name, peer in (("stripe-sync-engine", stripe_sync_engine), ("dj-stripe", dj_stripe)):
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="pay-peer-")))
            say(f"setting up {name} in {folder}")
            try:
                endpoints += await opened.enter_async_context(peer(servers.postgres, folder))
            except Unavailable as error:
                absent[name] = str(error)
        everyone = [Played(endpoint) for endpoint in endpoints]
        for played in everyone:
            await play(played, f"{seed}-warm-up-{played.endpoint.kind}", _count(requests * WARM_UP, played))
        for number in range(rounds):
            for played in everyone if number % 2 == 0 else reversed(everyone):
                run = f"{seed}-{number}-{played.endpoint.kind}"
                played.rounds.append(await play(played, run, _count(requests, played)))
                say(f"round {number + 1}: {played.endpoint.name} {played.rounds[-1].fired.rate:,.0f}/s")
        for played in everyone:
            played.stored = await played.endpoint.stored()
    return everyone, absent, facts


def _count(requests: float, played: Played) -> int:
    return max(int(requests * played.endpoint.share), AT_ONCE)


def report(everyone: Sequence[Played], absent: dict[str, str], facts: Sequence[str], seed: str) -> Report:
    """The table, what each does, and how many times the others' rate ours is, until nothing is left to do."""
    own = everyone[0]
    ratios = {played.endpoint.name: own.sustained / played.sustained for played in everyone[1:]}
    answers = ", ".join(f"{own.rate / played.rate:.2f} of {played.endpoint.name}" for played in everyone[1:])
    complaints = [complaint for played in everyone for complaint in played.complaints()]
    complaints += [
        f"{ratio:.2f} times {name} is below {FACTORS[name]:g}"
        for name, ratio in ratios.items()
        if ratio < FACTORS[name]
    ]
    complaints += [f"not compared with {name}" for name in absent]
    if own.p99 > P99_MAX_SECONDS:
        complaints.append(f"p99 {own.p99 * 1000:.1f} ms is above {P99_MAX_SECONDS * 1000:.0f} ms")
    alike = f"{AT_ONCE} requests under way; gunicorn has {SYNC_WORKERS} sync workers, Node and ours one process each"
    lines = [
        *facts,
        f"peers     {', '.join((*PYTHON_PACKAGES, *NODE_PACKAGES))}",
        f"rounds    {len(own.rounds)}, events of about 2 KB, {alike}",
        f"seed      {seed}",
        "",
        f"{'':<24}{'req/s':>8}{'settled':>9}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}   cpu us per request",
        *(_row(played) for played in everyone),
        *(f"{name:<24}{'not run':>8}   {' '.join(why.split())}" for name, why in absent.items()),
        "",
        *(f"{played.endpoint.name:<24}{played.endpoint.does}" for played in everyone),
        "",
        *(_binds(played) for played in everyone),
        "goal      "
        + ", ".join(f"{factor:g} times {name}" for name, factor in FACTORS.items())
        + f", p99 at most {P99_MAX_SECONDS * 1000:.0f} ms",
        f"answers   {answers or 'nobody to compare with'}; the ratio is of what is settled a second",
        "ratio " + (", ".join(f"{ratio:.2f} of {name}" for name, ratio in ratios.items()) or "none"),
    ]
    return Report("Our webhook endpoint and those of others", "make bench-peers", lines, complaints)


def _row(played: Played) -> str:
    p50 = statistics.median(done.fired.p50 for done in played.rounds) * 1000
    worst = max(done.fired.worst for done in played.rounds) * 1000
    used = costs.together(done.used for done in played.rounds)
    count = sum(done.fired.count for done in played.rounds)
    figures = f"{played.rate:>8,.0f}{played.sustained:>9,.0f}{p50:>9.1f}{played.p99 * 1000:>9.1f}{worst:>10.1f}"
    return f"{played.endpoint.name:<24}{figures}   {used.per(count)}"


def _binds(played: Played) -> str:
    used = costs.together(done.used for done in played.rounds)
    client = sum(done.fired.cpu_seconds for done in played.rounds) / used.seconds
    return f"binds     {played.endpoint.name}: of one core each: {used.shares}, client {client:.0%}"


def main() -> None:
    """Exit status 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="per round, for the fastest")
    parser.add_argument("--seed", default="", help="names the events; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    try:
        everyone, absent, facts = asyncio.run(measure(given.rounds, given.requests, seed))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(everyone, absent, facts, seed), given.evidence)


if __name__ == "__main__":
    main()
