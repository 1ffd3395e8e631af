"""What a measurement was taken on, said with every result."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import asyncpg

from sandbox.services.resolver import Servers

PACKAGES = ("aiohttp", "asyncpg", "aio-pika", "aiormq", "uvloop", "pydantic")


def facts() -> list[str]:
    """Date, versions, processor, memory and load, a line each."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    one, five, _ = os.getloadavg()
    return [
        f"date      {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine   {_processor()}, {os.cpu_count()} cores, {memory} MB, {platform.system()} {platform.release()}",
        f"load      {one:.2f} over 1 min, {five:.2f} over 5 min, before the start",
        f"python    {platform.python_version()}, " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    ]


async def server_facts(servers: Servers) -> list[str]:
    """Versions of the servers, and whether a commit survives a power cut.

    Raises:
        SystemExit: it does not; such figures would flatter.
    """
    connection = await asyncpg.connect(servers.admin_dsn)
    try:
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        shown = {name: await connection.fetchval(f"SHOW {name}") for name in names}
    finally:
        await connection.close()
    durability = {name: shown[name] for name in names[1:4]}
    if set(durability.values()) != {"on"}:
        raise SystemExit(f"this PostgreSQL is not durable: {durability}")
    settings = ", ".join(f"{name}={shown[name]}" for name in names[1:])
    return [f"postgres  {shown['server_version']}: {settings}", f"servers   {servers.backend}"]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
