"""What can befall the broker as a whole."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sandbox.services.rabbitmq_server import RabbitmqServer
from sandbox.services.resolver import Servers


@asynccontextmanager
async def away(servers: Servers) -> AsyncIterator[None]:
    """The broker is killed, and takes connections again at the end of the block."""
    broker = _own(servers)
    await asyncio.to_thread(broker.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(broker.start)


@asynccontextmanager
async def alarm(servers: Servers) -> AsyncIterator[None]:
    """The disk is full for as long as the block runs."""
    await fill_disk(servers)
    try:
        yield
    finally:
        await asyncio.to_thread(_control, _own(servers), "set_disk_free_limit", "200MB")


async def fill_disk(servers: Servers) -> None:
    """The disk is full until somebody sets another limit."""
    await asyncio.to_thread(_control, _own(servers), "set_disk_free_limit", "90000GB")


def _own(servers: Servers) -> RabbitmqServer:
    assert servers.rabbitmq is not None
    return servers.rabbitmq


def _control(broker: RabbitmqServer, *words: str) -> None:
    program = broker.installation.home / "sbin/rabbitmqctl"
    subprocess.run(
        [str(program), "-q", *words], env=broker._environment(), check=True, timeout=150, capture_output=True
    )
