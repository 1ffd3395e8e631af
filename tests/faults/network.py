"""A platform whose services reach everything they need by way of proxies, and seeds that can be repeated."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import asyncpg

from payments_shared.contracts.catalog import SERVICES
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers, private_servers
from tests.faults.proxy import FaultProxy

OUTSIDE: Final = ("stripe", "mailbox", "frontdoor")
SEED: Final = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


async def facts(servers: Servers) -> list[str]:
    """The seed, and what servers it was."""
    connection = await asyncpg.connect(servers.admin_dsn)
    try:
        version = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{servers.management_url}/api/overview") as answer,
    ):
        broker = (await answer.json())["rabbitmq_version"]
    return [f"seed      {SEED}", f"servers   PostgreSQL {version}, RabbitMQ {broker}"]


@dataclass(frozen=True, slots=True)
class Network:
    """The platform, and a proxy before each server: `postgres`, `broker`, `stripe`, `mailserver`, and `inventory`,
    where checkout holds stock. Tests themselves look past them."""

    deployment: Deployment
    proxies: Mapping[str, FaultProxy]

    @property
    def postgres(self) -> FaultProxy:
        return self.proxies["postgres"]

    @property
    def broker(self) -> FaultProxy:
        return self.proxies["broker"]

    @property
    def stripe(self) -> FaultProxy:
        return self.proxies["stripe"]

    @property
    def mailserver(self) -> FaultProxy:
        return self.proxies["mailserver"]

    @property
    def inventory(self) -> FaultProxy:
        return self.proxies["inventory"]


@contextlib.asynccontextmanager
async def spoilable(namespace: str) -> AsyncIterator[Network]:
    """Everything on servers of its own, with all services started behind the proxies."""
    with private_servers() as servers:
        async with deploy(servers, namespace=namespace, names=OUTSIDE) as running:
            with _proxies(running) as proxies:
                mails = {"PAYMENTS_SMTP_PORT": str(proxies["mailserver"].port)}
                for name in SERVICES:
                    running.start(name, **(mails if name == "notifications" else {}))
                await asyncio.to_thread(running.wait_ready, *SERVICES)
                yield Network(running, proxies)
                for proxy in proxies.values():
                    proxy.clear()
                await asyncio.to_thread(running.stop_all)


@contextlib.contextmanager
def _proxies(running: Deployment) -> Iterator[Mapping[str, FaultProxy]]:
    urls = {
        "postgres": running.provisioned.owner_database_url,
        "broker": next(iter(running.provisioned.amqp_urls.values())),
        "stripe": running.stripe_url,
        "mailserver": f"smtp://127.0.0.1:{running.smtp_port}",
        "inventory": running.internal_url("inventory"),
    }
    with contextlib.ExitStack() as open_ones:
        proxies = {}
        for name, url in urls.items():
            server = urlsplit(url).netloc.rpartition("@")[2]
            host, _, port = server.rpartition(":")
            proxies[name] = open_ones.enter_context(FaultProxy(host, int(port)))
            running.detours[server] = proxies[name].address
        yield proxies
