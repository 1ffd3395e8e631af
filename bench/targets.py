"""The two servers that are compared, and the client that fires at them, each a process of its own."""

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import aio_pika
import asyncpg
import psutil

from bench.dialogue import Dialogue
from bench.load import Fired, Order
from bench.verify_only import PATH
from payments_shared.contracts import catalog
from payments_shared.contracts.stripe import EVENT_TYPES
from payments_shared.messaging.topology import RETRY_TIERS_MS, Topology, declare
from sandbox.services.children import Child, clean_environment, free_ports, listening, spawn
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers

INGEST = "webhook-ingest"
DRAIN_SECONDS_MAX = 120.0


class Client:
    """The load generator's process."""

    def __init__(self) -> None:
        self._dialogue = Dialogue("bench.load")

    def fire(self, order: Order) -> Fired:
        """Sign everything, then send it."""
        self._dialogue.ask(json.dumps(asdict(order)))
        return Fired(**json.loads(self._dialogue.ask("go")))

    def close(self) -> None:
        """End it."""
        self._dialogue.close()


@dataclass(frozen=True, slots=True)
class Product:
    """webhook-ingest as in production: its own logins, its relay, and the queues that hear what it says."""

    deployment: Deployment
    owner: "asyncpg.Connection[asyncpg.Record]"

    @property
    def port(self) -> int:
        return self.deployment.public[INGEST]

    @property
    def secret(self) -> str:
        return self.deployment.secrets["webhook"]

    @property
    def child(self) -> Child:
        return self.deployment.children[INGEST]

    async def stored(self) -> tuple[int, int, int]:
        """(events stored, outbox rows, those of them that the broker confirmed)."""
        events = await self.owner.fetchval("SELECT count(*) FROM webhook_ingest.stripe_events")
        row = await self.owner.fetchrow("SELECT count(*), count(published_at) FROM webhook_ingest.outbox")
        assert row is not None
        return int(events), int(row[0]), int(row[1])

    async def unpublished(self) -> int:
        """How many messages wait for the relay."""
        sql = "SELECT count(*) FROM webhook_ingest.outbox WHERE shard = 0 AND published_at IS NULL"
        return int(await self.owner.fetchval(sql))

    async def drained(self) -> None:
        """Return when the relay has published everything.

        Raises:
            SystemExit: it takes too long.
        """
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        while await self.unpublished():
            if time.monotonic() > deadline:
                raise SystemExit(f"the outbox is not empty after {DRAIN_SECONDS_MAX:.0f} s")
            await asyncio.sleep(0.02)

    async def purge_queues(self) -> int:
        """Empty the hearers' queues, as hearers would; how many messages they held."""
        held = 0
        for service in hearers():
            connection = await aio_pika.connect(self.deployment.provisioned.amqp_urls[service])
            async with connection:
                channel = await connection.channel()
                queue = await channel.get_queue(f"{service}.events", ensure=False)
                held += (await queue.purge()).message_count or 0
        return held


def hearers() -> list[str]:
    """The services whose queues take the events that are sent here."""
    entry = catalog.CATALOG[f"stripe.{EVENT_TYPES[0]}"]
    return sorted(entry.hearers)


@contextlib.asynccontextmanager
async def product(servers: Servers) -> AsyncIterator[Product]:
    """Provision, declare the hearers' queues as the hearers would, start webhook-ingest, and wait until it is ready."""
    namespace = f"bench_{secrets.token_hex(3)}"
    async with deploy(servers, namespace=namespace, names=(INGEST,), retry_tiers_ms=RETRY_TIERS_MS) as deployment:
        for service in hearers():
            connection = await aio_pika.connect(deployment.provisioned.amqp_urls[service])
            async with connection:
                await declare(await connection.channel(), Topology.of(service))
        owner = await asyncpg.connect(deployment.provisioned.owner_database_url)
        try:
            yield Product(deployment, owner)
        finally:
            await owner.close()


@contextlib.contextmanager
def verify_only(secret: str, folder: Path) -> Iterator[tuple[Child, int]]:
    """The handler that only verifies, and its port."""
    (port,) = free_ports(1)
    child = spawn(
        "verify-only",
        [sys.executable, "-m", "bench.verify_only"],
        log=folder / "verify-only.log",
        environment=clean_environment(BENCH_PORT=str(port), BENCH_SECRET=secret),
        cwd=Path.cwd(),
    )
    try:
        child.wait_until(lambda: listening(port), timeout_seconds=20)
        yield child, port
    finally:
        child.kill()


@contextlib.contextmanager
def answerer() -> Iterator[int]:
    """A server that answers every packet with a fixed text, and its port."""
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "bench.answerer", str(port)])
    try:
        while not listening(port):
            assert process.poll() is None
        yield port
    finally:
        process.kill()
        process.wait(timeout=10)


def cpu_seconds(*pids: int) -> float:
    """What these processes and their children have used so far, those that have ended too."""
    total = 0.0
    for pid in pids:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def order(port: int, secret: str, *, count: int, connections: int, run: str) -> Order:
    """What the client shall send."""
    return Order(port=port, path=PATH, secret=secret, count=count, connections=connections, run=run)
