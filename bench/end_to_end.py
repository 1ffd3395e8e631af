"""`python -m bench.end_to_end`: from a webhook that is due to the commit in checkout that makes its order paid.

Open loop: events come at a constant rate, and the delay of each counts from the moment it was due. The orders exist
(put into checkout's tables by SQL before each run), and each event is one that pays its order. Two shapes take every
rate in turn on the same servers: the product, and the plain shape of `bench.plain`. A shape leaves the ladder at the
rate at which it misses the goal twice; the rate that counts is the highest at which it kept it.
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from bench import costs, evidence, machine, orders
from bench.dialogue import Dialogue
from bench.evidence import Report, say
from bench.open_loop import Order, Sent
from bench.servers import measured_servers
from bench.verify_only import PATH
from payments_shared.contracts.catalog import CONSUMERS
from payments_shared.messaging.topology import RETRY_TIERS_MS
from payments_shared.provision import Provisioned, provision
from sandbox.services.children import Child, clean_environment, free_ports, listening, spawn
from sandbox.services.deployment import deploy
from sandbox.services.resolver import Servers, ServersUnavailable

RATES: Final = (100, 200, 300, 400, 500, 650, 800, 1000, 1200, 1500, 1800, 2200)
SECONDS: Final = 60.0
P99_MAX_SECONDS: Final = 0.300
RATIO_MIN: Final = 2.0
AIM_PER_SECOND: Final = 1000
DRAIN_SECONDS_MAX: Final = 180.0
WARM_UP: Final = (50.0, 10.0)  # events per second, seconds


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to do the work, running: where to send, whose orders, and which processes it is made of."""

    name: str
    port: int
    secret: str
    vhost: str
    owner: "orders.Owner[asyncpg.Record]"
    pids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """One rate of one shape. Delays in seconds from the moment an event was due to its commit."""

    rate: float
    sent: Sent
    count: int
    paid: int
    p50: float
    p99: float
    worst: float
    used: costs.Used

    @property
    def kept(self) -> bool:
        """Whether the goal was kept: everything answered 200, everything paid, soon enough."""
        return self.sent.statuses == {"200": self.count} and self.paid == self.count and self.p99 <= P99_MAX_SECONDS


@dataclass(slots=True)
class Ladder:
    """What one shape did so far. The second miss in a row of one rate ends it."""

    shape: Shape
    runs: list[Run] = field(default_factory=list)

    @property
    def best(self) -> Run | None:
        """The run at the highest rate that kept the goal."""
        return max((run for run in self.runs if run.kept), key=lambda run: run.rate, default=None)

    def ended(self) -> bool:
        """Whether the last rate was missed twice."""
        last = self.runs[-2:]
        return len(last) == 2 and last[0].rate == last[1].rate and not last[0].kept and not last[1].kept

    def wants(self, rate: float) -> bool:
        """Whether `rate` is still to be played: not yet kept, and no rate was missed twice."""
        return not self.ended() and not any(run.rate == rate and run.kept for run in self.runs)


class Sender:
    """The open-loop client's process."""

    def __init__(self) -> None:
        self._dialogue = Dialogue("bench.open_loop")

    def prepare(self, order: Order) -> None:
        """Sign everything."""
        self._dialogue.ask(json.dumps(asdict(order)))

    def send(self) -> Sent:
        """Send what was signed."""
        return Sent(**json.loads(self._dialogue.ask("go")))

    def close(self) -> None:
        """End it."""
        self._dialogue.close()


class Bench:
    """Plays one rate of one shape."""

    def __init__(self, servers: Servers, sender: Sender, seed: str) -> None:
        self._servers = servers
        self._sender = sender
        self._seed = seed
        self._played = 0

    async def play(self, shape: Shape, rate: float, seconds: float) -> Run:
        """Place the orders, send their events, and wait until all are paid."""
        self._played += 1
        run = f"{self._seed}-{self._played}"
        order = Order(shape.port, PATH, shape.secret, run, rate, seconds)
        await orders.place_orders(shape.owner, run, order.count)
        await shape.owner.execute("CHECKPOINT")  # so that no run pays for the orders of its own or an earlier one
        await asyncio.to_thread(self._sender.prepare, order)
        pids = {**shape.pids, **costs.server_pids(self._servers)}
        started, before = time.perf_counter(), costs.look(pids)
        sent = await asyncio.to_thread(self._sender.send)
        after, took = costs.look(pids), time.perf_counter() - started
        await self._until_paid(shape, run, order.count)
        paid = await orders.paid_after(shape.owner, run, order.count, started=sent.started, rate=rate)
        self._purge(shape)
        used = costs.between(before, after, took)
        client = costs.Used(took, {**used.by_name, "client": sent.cpu_seconds})
        return Run(rate, sent, order.count, *paid, client)

    async def _until_paid(self, shape: Shape, run: str, count: int) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        while await orders.count_paid(shape.owner, run, count) < count:
            if time.monotonic() > deadline:
                say(f"{shape.name}: not all paid after {DRAIN_SECONDS_MAX:.0f} s")
                return
            await asyncio.sleep(0.5)

    def _purge(self, shape: Shape) -> None:
        """Empty the queues of those who do not run here."""
        assert self._servers.rabbitmq is not None
        for service in CONSUMERS:
            if service != "checkout":
                path = f"/api/queues/{quote(shape.vhost, safe='')}/{service}.events/contents"
                self._servers.rabbitmq.management("DELETE", path)


async def climb(bench: Bench, ladders: Sequence[Ladder], rates: Sequence[float], seconds: float) -> None:
    """Every rate in turn; a shape that misses one gets it once more, since a machine has moods."""
    for number, rate in enumerate(rates):
        for _ in range(2):
            for ladder in ladders if number % 2 == 0 else reversed(ladders):
                if ladder.wants(rate):
                    run = await bench.play(ladder.shape, rate, seconds)
                    ladder.runs.append(run)
                    verdict = "kept" if run.kept else "missed"
                    say(f"{ladder.shape.name} at {rate:g}/s: p99 {run.p99 * 1000:,.0f} ms, {verdict}")
        if all(ladder.ended() for ladder in ladders):
            return


# -- the two shapes --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def product(servers: Servers) -> AsyncIterator[Shape]:
    """webhook-ingest and checkout as in production."""
    namespace = f"bench_{secrets.token_hex(3)}"
    names = ("webhook-ingest", "checkout")
    async with deploy(servers, namespace=namespace, names=names, retry_tiers_ms=RETRY_TIERS_MS) as deployment:
        owner = await orders.connect(deployment.provisioned.owner_database_url)
        try:
            yield Shape(
                "product",
                deployment.public["webhook-ingest"],
                deployment.secrets["webhook"],
                namespace,
                owner,
                {name: deployment.children[name].pid for name in names},
            )
        finally:
            await owner.close()


@contextlib.asynccontextmanager
async def plain(servers: Servers, folder: Path) -> AsyncIterator[Shape]:
    """The plain shape on a database and a vhost of its own."""
    namespace = f"plain_{secrets.token_hex(3)}"
    made = await provision(
        admin_dsn=servers.admin_dsn,
        management_url=servers.management_url,
        amqp_url=servers.amqp_url,
        database=namespace,
        vhost=namespace,
        prefix=f"{namespace}_",
        retry_tiers_ms=RETRY_TIERS_MS,
    )
    secret = "whsec_" + secrets.token_hex(16)
    owner = await orders.connect(made.owner_database_url)
    await owner.execute("SELECT payments.keep_partitions('webhook_ingest'), payments.keep_partitions('checkout')")
    (port,) = free_ports(1)
    with _plain_processes(made, folder, port, secret) as children:
        children["ingest"].wait_until(lambda: listening(port), timeout_seconds=20)
        pids = {f"plain {name}": child.pid for name, child in children.items()}
        yield Shape("plain", port, secret, namespace, owner, pids)
    await owner.close()


@contextlib.contextmanager
def _plain_processes(made: Provisioned, folder: Path, port: int, secret: str) -> Iterator[dict[str, Child]]:
    children: dict[str, Child] = {}
    try:
        for program, service in (("ingest", "webhook-ingest"), ("consume", "checkout")):
            children[program] = spawn(
                f"plain-{program}",
                [sys.executable, "-m", "bench.plain", program],
                log=folder / f"plain-{program}.log",
                environment=clean_environment(
                    BENCH_DATABASE_URL=made.database_urls[service],
                    BENCH_AMQP_URL=made.amqp_urls[service],
                    BENCH_SECRET=secret,
                    BENCH_PORT=str(port),
                ),
                cwd=Path.cwd(),
            )
        yield children
    finally:
        for child in children.values():
            child.kill()


async def keep_times_of_commits(servers: Servers) -> None:
    """Have the server remember when each transaction committed, which needs a restart."""
    connection = await asyncpg.connect(servers.admin_dsn)
    await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await connection.close()
    assert servers.postgres is not None
    servers.postgres.stop()
    servers.postgres.start()


# -- the report ------------------------------------------------------------------------------------------------------


_HEADING: Final = (
    f"{'':<9}{'rate/s':>7}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}{'answer p99':>12}{'late ms':>9}   cpu us per event"
)


def report(plain_ladder: Ladder, ours: Ladder, facts: Sequence[str], seconds: float, seed: str) -> Report:
    """The table, and the ratio of the highest rates that kept the goal."""
    lines = [
        *facts,
        f"runs      {seconds:g} s for each rate, open loop; delays count from the moment an event was due",
        "orders    placed by SQL before each run; each event pays one of them",
        f"seed      {seed}",
        "",
        _HEADING,
        *(_row(ladder.shape.name, run) for ladder in (plain_ladder, ours) for run in ladder.runs),
        "",
    ]
    found = [ladder.best for ladder in (plain_ladder, ours)]
    complaints = []
    rates = [run.rate if run else 0.0 for run in found]
    for ladder in (plain_ladder, ours):
        most = ladder.runs[-1].used
        verdict = "misses" if ladder.ended() else "keeps"
        lines.append(
            f"binds     {ladder.shape.name} {verdict} {ladder.runs[-1].rate:g}/s with {most.of_machine:.0%} of the "
            f"machine; of one core each: {most.shares}"
        )
    ratio = rates[1] / rates[0] if rates[0] else 0.0
    lines.append(f"goal      p99 at most {P99_MAX_SECONDS * 1000:.0f} ms at {RATIO_MIN:g} times the plain shape's rate")
    if not rates[0]:
        complaints.append("the plain shape kept the goal at no rate: there is nothing to compare with")
    elif ratio < RATIO_MIN:
        complaints.append(f"{rates[1]:g}/s is below {RATIO_MIN:g} times the plain shape's {rates[0]:g}/s")
    if rates[1] < AIM_PER_SECOND:
        highest = max((run.rate for run in ours.runs), default=0.0)
        lines.append(
            f"aim       {AIM_PER_SECOND:,}/s was not reached; the highest rate that was tried is {highest:,.0f}/s"
        )
    lines.append(f"ratio {ratio:.2f}; product {rates[1]:,.0f}/s, plain {rates[0]:,.0f}/s")
    return Report("From the webhook to the commit in checkout", "make bench-end-to-end", lines, complaints)


def _row(name: str, run: Run) -> str:
    mark = "" if run.kept else "   missed"
    if run.paid < run.count:
        mark += f", {run.count - run.paid} not paid in time"
    figures = "".join(f"{value * 1000:>{width},.0f}" for value, width in ((run.p50, 9), (run.p99, 9), (run.worst, 10)))
    answers = f"{run.sent.p99 * 1000:>12,.0f}{run.sent.late * 1000:>9,.0f}"
    return f"{name:<9}{run.rate:>7g}{figures}{answers}   {run.used.per(run.count)}{mark}"


async def measure(rates: Sequence[float], seconds: float, seed: str) -> tuple[Ladder, Ladder, list[str]]:
    """Start everything, climb, stop everything."""
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as scratch:
        async with measured_servers(say) as servers:
            await keep_times_of_commits(servers)
            facts += await machine.server_facts(servers)
            async with plain(servers, Path(scratch)) as one, product(servers) as two:
                sender = Sender()
                bench = Bench(servers, sender, seed)
                for shape in (one, two):
                    await bench.play(shape, *WARM_UP)
                ladders = (Ladder(one), Ladder(two))
                await climb(bench, ladders, rates, seconds)
                sender.close()
        return *ladders, facts


def main() -> None:
    """Exit status 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="events per second, rising")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each rate")
    parser.add_argument("--seed", default="", help="names the events; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    try:
        plain_ladder, ours, facts = asyncio.run(measure(given.rates, given.seconds, seed))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(plain_ladder, ours, facts, given.seconds, seed), given.evidence)


if __name__ == "__main__":
    main()
