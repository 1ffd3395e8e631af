"""The endpoints under measurement, each running on the same PostgreSQL."""

import contextlib
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg

from bench.events import intent_event
from bench.peers.environments import Unavailable, node_environment, python_environment
from bench.peers.firing import Target
from bench.targets import Product
from bench.verify_only import PATH
from sandbox.services.children import Child, ChildFailed, clean_environment, free_ports, listening, spawn
from sandbox.services.postgres_server import PostgresServer

HERE: Final = Path(__file__).parent
SYNC_WORKERS: Final = 2  # one for each core; they do nothing but wait for PostgreSQL in between
START_SECONDS_MAX: Final = 60
PREPARE_SECONDS_MAX: Final = 180
STORED_TYPE: Final = "refund.created"  # dj-stripe keeps its events and does nothing more with them


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `body_of(run, number, now)` makes its events, `stored` counts the events that took effect, and
    `settled` returns when nothing is left to do. `share` is how many of a round's events it gets: each round shall
    last some seconds for everybody."""

    name: str
    does: str
    target: Target
    share: float
    pids: Mapping[str, int]
    stored: Callable[[], Awaitable[int]]
    settled: Callable[[], Awaitable[None]]
    kind: str = "payment_intent.succeeded"

    def bodies(self, run: str) -> Callable[[int, int], bytes]:
        """The events of `run`: the same for everybody who gets the same kind."""
        return lambda number, now: intent_event(run, number, created=now, kind=self.kind)


@dataclass(frozen=True, slots=True)
class Database:
    """A database of its own, and the login that owns it."""

    name: str
    user: str
    password: str
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{self.name}"


async def make_database(postgres: PostgresServer, name: str, user: str) -> Database:
    """A new database, owned by a new login."""
    password = secrets.token_hex(16)
    admin = await asyncpg.connect(postgres.dsn)
    try:
        await admin.execute(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{password}'")
        await admin.execute(f"CREATE DATABASE {name} OWNER {user}")
    finally:
        await admin.close()
    return Database(name, user, password, postgres.port)


def ours(under_test: Product, postgres: PostgresServer) -> Endpoint:
    """webhook-ingest with its relay, which gives way while a burst is answered."""
    assert postgres.child is not None

    async def stored() -> int:
        events, rows, published = await under_test.stored()
        if not events == rows == published:
            raise SystemExit(f"events, outbox rows, published: {events}, {rows}, {published}")
        return events

    async def settled() -> None:
        await under_test.drained()
        await under_test.purge_queues()

    return Endpoint(
        "payments",
        "verifies, stores the event once with the message that tells it, in one durable commit; publishes it",
        Target(under_test.port, PATH, under_test.secret),
        1.0,
        {"own": under_test.child.pid, "postgres": postgres.child.pid},
        stored,
        settled,
    )


@contextlib.asynccontextmanager
async def stripe_sync_engine(postgres: PostgresServer, folder: Path) -> AsyncIterator[list[Endpoint]]:
    """One Node process, as its container runs it.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    node = node_environment(folder)
    database = await make_database(postgres, "stripe_sync_engine", "postgres")  # its tables ask for this owner
    program = str(shutil.copy(HERE / "stripe_sync_engine.cjs", node.packages))
    (port,) = free_ports(1)
    secret = "whsec_" + secrets.token_hex(16)
    environment = clean_environment(
        PEER_DATABASE_URL=database.url, PEER_WEBHOOK_SECRET=secret, PEER_HTTP_PORT=str(port), NODE_ENV="production"
    )
    with _child("stripe-sync-engine", [node.node, program], folder, environment, port) as child:
        owner = await asyncpg.connect(database.url)
        assert postgres.child is not None
        yield [
            Endpoint(
                "stripe-sync-engine",
                "verifies, then writes the object of the event over its row; keeps no event and no message",
                Target(port, "/webhooks", secret),
                0.4,
                {"own": child.pid, "postgres": postgres.child.pid},
                partial(_count, owner, "SELECT count(*) FROM stripe.payment_intents"),
                _nothing_left,
            )
        ]
        await owner.close()


@contextlib.asynccontextmanager
async def dj_stripe(postgres: PostgresServer, folder: Path) -> AsyncIterator[list[Endpoint]]:
    """Django under gunicorn with sync workers: once with the events that the others get, once with a type that
    dj-stripe stores and does nothing more with, which is the fastest it can be.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    python = python_environment(folder)
    database = await make_database(postgres, "dj_stripe", "dj_stripe")
    port, stub_port = free_ports(2)
    secret, endpoint_id = "whsec_" + secrets.token_hex(16), str(uuid4())
    environment = clean_environment(
        PYTHONPATH=str(HERE),
        DJANGO_SETTINGS_MODULE="djproject.settings",
        PEER_SECRET=secrets.token_hex(32),
        PEER_DATABASE=database.name,
        PEER_USER=database.user,
        PEER_PASSWORD=database.password,
        PEER_PORT=str(database.port),
        PEER_STRIPE_URL=f"http://127.0.0.1:{stub_port}",
    )
    _once("dj-stripe", [str(python), "-m", "djproject.prepare", endpoint_id, secret], folder, environment)
    bind = ["--bind", f"127.0.0.1:{port}", "--workers", str(SYNC_WORKERS), "--worker-class", "sync"]
    serve = [str(python), "-m", "gunicorn", *bind, "django.core.wsgi:get_wsgi_application()"]
    stub = [sys.executable, "-m", "bench.peers.stripe_stub", str(stub_port)]
    with (
        _child("stripe-stub", stub, folder, clean_environment(), stub_port),
        _child("dj-stripe", serve, folder, environment, port) as child,
    ):
        owner = await asyncpg.connect(database.url)
        assert postgres.child is not None
        target = Target(port, f"/stripe/webhook/{endpoint_id}/", secret)
        pids = {"own": child.pid, "postgres": postgres.child.pid}
        count = "SELECT count(*) FROM djstripe_event WHERE type = $1"
        yield [
            Endpoint(
                "dj-stripe, stores only",
                f"verifies, stores request and event; no handler hears {STORED_TYPE}",
                target,
                0.06,
                pids,
                partial(_count, owner, count, STORED_TYPE),
                _nothing_left,
                STORED_TYPE,
            ),
            Endpoint(
                "dj-stripe",
                "verifies, stores request and event, then the object as it fetches it from Stripe, here a stub",
                target,
                0.03,
                pids,
                partial(_count, owner, count, "payment_intent.succeeded"),
                _nothing_left,
            ),
        ]
        await owner.close()


async def _count(owner: "asyncpg.Connection[asyncpg.Record]", sql: str, *given: str) -> int:
    return int(await owner.fetchval(sql, *given))


async def _nothing_left() -> None:
    """All its work is done before it answers."""


@contextlib.contextmanager
def _child(name: str, command: list[str], folder: Path, environment: Mapping[str, str], port: int) -> Iterator[Child]:
    cwd = Path.cwd() if name == "stripe-stub" else folder
    child = spawn(name, command, log=folder / f"{name}.log", environment=environment, cwd=cwd)
    try:
        try:
            child.wait_until(lambda: listening(port), timeout_seconds=START_SECONDS_MAX)
        except ChildFailed as error:
            raise Unavailable(str(error)) from error
        yield child
    finally:
        child.stop(timeout_seconds=10)


def _once(name: str, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    child = spawn(name, command, log=folder / f"{name}.log", environment=environment, cwd=folder)
    try:
        status = child.popen.wait(timeout=PREPARE_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        raise Unavailable(f"{name} was not prepared after {PREPARE_SECONDS_MAX} s") from None
    if status:
        raise Unavailable(f"{name} could not be prepared\n{child.tail(8)}")
