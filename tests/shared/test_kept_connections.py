"""What services keep open between them is shorter than the leave of the one that is asked."""

import ast
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from operations.gateway.services import Services
from operations.gateway.staff import Staff
from operations.model.people import Access
from payments_shared.http import KEPT_SECONDS
from tests.deploy.composed import ROOT

WHO: Final = Access("the-token", "olga", datetime(2026, 8, 26, tzinfo=UTC))
LEAVE_SECONDS: Final = 5.0  # of the cluster
TO_OTHERS: Final = {  # they take no leave of ours
    "operations/gateway/alerts.py",
    "operations/gateway/provider.py",
    "operations/gateway/queues.py",
}


@dataclass(slots=True)
class Neighbour:
    """A server that answers everything and never closes a connection."""

    url: str
    kept: asyncio.Queue[float]


@pytest_asyncio.fixture(loop_scope="session")
async def neighbour() -> AsyncIterator[Neighbour]:
    """Each connection that its client has closed is told of by the seconds since its last answer."""
    kept: asyncio.Queue[float] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = loop.time()
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            answered = loop.time()
        kept.put_nowait(loop.time() - answered)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield Neighbour(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", kept)
    server.close()


async def _people(url: str) -> Callable[[], Awaitable[None]]:
    staff = Staff("refunds", url)
    await staff.ask(WHO, "GET", "/")
    return staff.close


async def _figures(url: str) -> Callable[[], Awaitable[None]]:
    services = Services({"refunds": url})
    assert [state.answers for state in await services.states()] == [True]
    return services.close


@pytest.mark.parametrize("ask", [_people, _figures])
async def test_the_console_gives_up_a_connection_before_its_neighbour_has_left(
    neighbour: Neighbour, ask: Callable[[str], Awaitable[Callable[[], Awaitable[None]]]]
) -> None:
    close = await ask(neighbour.url)

    async with asyncio.timeout(LEAVE_SECONDS + 15):
        kept = await neighbour.kept.get()

    assert kept < LEAVE_SECONDS
    await close()


def _sessions() -> list[tuple[str, ast.Call]]:
    """All that services open, by the file."""
    found = []
    for path in sorted((ROOT / "services").glob("*/src/**/*.py")):
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        named = str(Path(*path.relative_to(ROOT / "services").parts[2:]))
        found += [(named, call) for call in calls if ast.unparse(call.func).endswith("ClientSession")]
    return found


def test_every_session_between_services_keeps_connections_for_as_long() -> None:
    between = [(path, call) for path, call in _sessions() if path not in TO_OTHERS]
    connectors = {
        path: ast.unparse(word.value) for path, call in between for word in call.keywords if word.arg == "connector"
    }

    assert {path for path, _ in between} == {
        "checkout/app.py",
        "operations/gateway/services.py",
        "operations/gateway/staff.py",
    }
    assert connectors.keys() == {path for path, _ in between}
    assert set(connectors.values()) == {"aiohttp.TCPConnector(keepalive_timeout=KEPT_SECONDS)"}
    assert KEPT_SECONDS < LEAVE_SECONDS
