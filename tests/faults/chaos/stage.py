"""The platform on servers of its own, what of it is down on purpose, and who died unasked."""

import asyncio
import contextlib
import itertools
import re
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import aiohttp
import asyncpg
import psutil

from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.postgres import is_unavailable
from sandbox.services.children import Child
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.postgres_server import PostgresServer
from sandbox.services.rabbitmq_server import RabbitmqServer
from sandbox.services.resolver import Servers
from tests.faults.chaos.network import Network
from tests.faults.chaos.plan import BROKER, POSTGRES, Link

OUTSIDE: Final = ("stripe", "mailbox", "frontdoor")
NAMESPACE: Final = "chaos"
QUICKER: Final = {"PAYMENTS_PULL_SECONDS": "5"}  # what is done hourly about lost webhooks must be seen within a minute
ALIVE_SECONDS: Final = 60.0
_QUOTED: Final = re.compile(r'"[^"]*"')


class NoEffect(AssertionError):
    """A fault that struck nothing proves nothing."""


@dataclass(slots=True)
class Stage:
    """Everything that runs. `down` names what we ended ourselves; `deaths` tells of whatever else ended."""

    deployment: Deployment
    http: aiohttp.ClientSession
    network: Network
    down: set[str] = field(default_factory=set)
    deaths: list[str] = field(default_factory=list)
    healing: asyncio.Event = field(default_factory=asyncio.Event)
    cpu_seconds: "defaultdict[str, float]" = field(default_factory=lambda: defaultdict(float))
    _seen: dict[int, float] = field(default_factory=dict)

    @classmethod
    @contextlib.asynccontextmanager
    async def on(
        cls, servers: Servers, links: tuple[Link, ...], *, say: Callable[[str], None]
    ) -> AsyncIterator["Stage"]:
        """Start everything on `servers`, with `links` through proxies, watched until the end of the block."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http,
            deploy(servers, namespace=NAMESPACE, names=OUTSIDE, extra=QUICKER, say=say) as deployment,
        ):
            with Network.of(deployment, links) as network:
                stage = cls(deployment, http, network)
                for name in SERVICES:
                    stage.launch(name)
                await asyncio.to_thread(deployment.wait_ready, *SERVICES)
                for name in stage.names:
                    stage._count(name, stage.child(name).pid)
                stage.cpu_seconds.clear()  # what the first start cost is not the load's
                watching = asyncio.create_task(stage.watch())
                yield stage
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
                deployment.stop_all()

    # -- processes ---------------------------------------------------------------------------------------------------

    @property
    def postgres(self) -> PostgresServer:
        assert self.deployment.servers.postgres is not None
        return self.deployment.servers.postgres

    @property
    def broker(self) -> RabbitmqServer:
        assert self.deployment.servers.rabbitmq is not None
        return self.deployment.servers.rabbitmq

    def child(self, name: str) -> Child:
        """The process of a service, a sandbox program or a server."""
        found = {POSTGRES: self.postgres.child, BROKER: self.broker.child}.get(name) or self.deployment.children[name]
        assert found is not None
        return found

    def launch(self, name: str) -> None:
        """Start a service; its links that can be spoiled go through their proxies."""
        self.deployment.start(name, **self.network.environment(self.deployment, name))

    async def alive(self, name: str) -> None:
        """Wait until a service that was started answers, whether it is ready or not: what it needs may be away."""
        port = self.deployment.ports[name]
        answers = partial(_answers, f"http://127.0.0.1:{port}/healthz")
        await asyncio.to_thread(self.deployment.children[name].wait_until, answers, timeout_seconds=ALIVE_SECONDS)

    @contextlib.contextmanager
    def ending(self, name: str) -> Iterator[None]:
        """Inside the block `name` may be down."""
        self.down.add(name)
        try:
            yield
        finally:
            self.down.discard(name)

    async def hold(self, seconds: float) -> None:
        """Let a fault last, unless everything is healed before."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.healing.wait(), seconds)

    # -- watching ----------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Whatever runs."""
        return (*self.deployment.children, POSTGRES, BROKER)

    async def watch(self) -> None:
        """See who dies unasked and, now and then, since it costs something, what work costs."""
        for turn in itertools.count():
            for name in self.names:
                child = self.child(name)
                status = child.popen.poll()
                if status is not None and name not in self.down:
                    self.deaths.append(f"{name} ended by itself with status {status}:\n{child.tail(15)}")
                    self.down.add(name)
                if turn % 10 == 0:
                    self._count(name, child.pid)
            await asyncio.sleep(0.5)

    def _count(self, name: str, pid: int) -> None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            times = process.cpu_times()
            used = times.user + times.system + times.children_user + times.children_system
            for one in process.children(recursive=True) if name in (POSTGRES, BROKER) else ():
                with contextlib.suppress(psutil.Error):
                    of_child = one.cpu_times()
                    used += of_child.user + of_child.system
            before = self._seen.get(pid, 0.0)
            self._seen[pid] = max(before, used)
            self.cpu_seconds[name] += max(0.0, used - before)

    def database_errors(self) -> dict[str, int]:
        """What PostgreSQL refused or broke off so far, by its words, with how often."""
        log = self.postgres.home / "postgres.log"
        found = (line.partition("] ERROR:")[2].strip() for line in log.read_text(errors="replace").splitlines())
        return dict(Counter(_QUOTED.sub("…", words) for words in found if words))

    # -- talking -----------------------------------------------------------------------------------------------------

    async def stripe(self, method: str, path: str, body: object | None = None) -> Any:  # Any: JSON
        """A control of the simulator."""
        return await self._control(method, self.deployment.stripe_url + path, body)

    async def mailbox(self, method: str, body: object | None = None) -> Any:  # Any: JSON
        """The faults of the mail server."""
        return await self._control(method, self.deployment.mailbox_url + "/_control/faults", body)

    async def _control(self, method: str, url: str, body: object | None) -> Any:  # Any: JSON
        arguments: dict[str, Any] = {"json": body} if body is not None else {}
        async with self.http.request(method, url, **arguments) as answer:
            assert answer.status == 200, (url, answer.status, await answer.text())
            return await answer.json()

    async def admin(self, method: str, service: str, path: str, body: object) -> None:
        """One call of a service's admin port."""
        token = self.deployment.keys.token("chaos", "admin", "operator")
        url, headers = self.deployment.internal_url(service) + path, {"Authorization": f"Bearer {token}"}
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            assert answer.status < 300, (path, answer.status, await answer.text())

    def staff(self) -> dict[str, str]:
        """Tokens of people by role, each another person."""
        token = self.deployment.keys.token
        return {role: token(f"chaos-{role}", role, email=f"{role}@shop.example") for role in ("support", "approver")}

    @contextlib.asynccontextmanager
    async def owner(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """The database as its owner, for one look."""
        url = self.deployment.provisioned.owner_database_url
        connection = await asyncpg.connect(url, timeout=3, command_timeout=15)
        try:
            yield connection
        finally:
            await connection.close(timeout=3)

    @property
    def auditor(self) -> str:
        return self.deployment.provisioned.database_urls["auditor"]

    async def in_flight(self) -> dict[str, int]:
        """Work that a fault can harm now, as the database knows it; nothing when it is away."""
        try:
            async with self.owner() as owner:
                row = await owner.fetchrow(_IN_FLIGHT)
        except Exception as error:
            if not is_unavailable(error):
                raise
            return {}
        assert row is not None
        return {name: int(row[name]) for name in row.keys()}  # noqa: SIM118 - a record


_UNSAID: Final = " + ".join(
    f"(SELECT count(*) FROM {schema_name(name)}.outbox WHERE published_at IS NULL AND available_at <= now())"
    for name in SERVICES
)
_IN_FLIGHT: Final = f"""
SELECT {_UNSAID} AS messages,
       (SELECT count(*) FROM checkout.orders AS o WHERE state = 'paid' AND NOT EXISTS (
            SELECT FROM fulfillment.shipments AS f WHERE f.order_id = o.id)) AS unshipped,
       (SELECT count(*) FROM notifications.mails WHERE state NOT IN ('sent', 'suppressed', 'undeliverable')) AS unmailed,
       (SELECT count(*) FROM refunds.refunds WHERE state NOT IN ('succeeded', 'failed')) AS refunding
"""


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback processes
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
