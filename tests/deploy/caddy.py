"""The front door that is deployed, run as a plain process on the loopback."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from sandbox.services.children import Child, clean_environment, free_ports, spawn
from tests.deploy.composed import Container, addresses, front_door
from tests.deploy.tools import of_environment

STARTED_SECONDS: Final = 30
_SITE: Final = re.compile(r"^(\S*):(\d+) \{", re.MULTILINE)
_PORT: Final = re.compile(r"(https?_port) (\d+)")
_PATIENCE: Final = "lb_try_duration 10s"


def on_the_loopback(text: str, port: Callable[[int], int]) -> str:
    """A file of Caddy's that listens on the loopback alone, at `port(inside)` in place of each of its ports."""
    placed = _SITE.sub(lambda m: f"{m[1]}:{port(int(m[2]))} {{\n\tbind 127.0.0.1\n", text)
    return _PORT.sub(lambda m: f"{m[1]} {port(int(m[2]))}", placed)


def rewrite(file: Path, change: Callable[[str], str]) -> None:
    """Change a Caddyfile and the files around it."""
    for part in file.parent.rglob("*"):
        if part.is_file():
            part.write_text(change(part.read_text(encoding="utf-8")), encoding="utf-8")


def start(file: Path, folder: Path) -> Child:
    """Caddy by this Caddyfile; its log, and what it keeps, are in `folder`."""
    command = [of_environment("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]
    environment = clean_environment(HOME=str(folder), XDG_DATA_HOME=str(folder / "caddy"))
    return spawn("front-door", command, log=folder / "front-door.log", environment=environment)


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """Where guests find it, without TLS and with, and where Prometheus does."""

    url: str
    secure_url: str
    exposition: str


@contextlib.asynccontextmanager
async def front_door_before(
    container: Container, ways: Mapping[str, str], folder: Path, http: aiohttp.ClientSession
) -> AsyncIterator[FrontDoor]:
    """A container's front door while the block runs. `ways` says where somebody is, by the `host:port` of the files;
    behind all others is nobody, of which guests hear after a second."""
    file = front_door(container, folder / "door")
    inside = (8080, 8443, 9000)
    *listening, closed = free_ports(len(inside) + 1)
    ports = dict(zip(inside, listening, strict=True))

    def placed(text: str) -> str:
        for host, port in set(addresses(text)):
            text = text.replace(f"{host}:{port}", ways.get(f"{host}:{port}", f"127.0.0.1:{closed}"))
        return on_the_loopback(text.replace(_PATIENCE, "lb_try_duration 1s"), ports.__getitem__)

    rewrite(file, placed)
    child = start(file, folder)
    plain, secure, counts = (ports[one] for one in inside)
    found = FrontDoor(f"http://127.0.0.1:{plain}", f"https://localhost:{secure}", f"127.0.0.1:{counts}")
    try:
        async with asyncio.timeout(STARTED_SECONDS):
            while not await _lives(http, found):
                assert child.running, child.tail()
                await asyncio.sleep(0.1)
        yield found
    finally:
        child.stop(timeout_seconds=20)


async def _lives(http: aiohttp.ClientSession, door: FrontDoor) -> bool:
    try:
        async with http.get(f"http://{door.exposition}/healthz") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False
