"""What the front door says because nobody behind it answers is told apart from all else that it hands on."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest_asyncio
from aiohttp import web

from payments_shared.http import serve
from tests.deploy.caddy import FrontDoor, front_door_before
from tests.deploy.composed import containers, made_variables
from tests.support.deadline import eventually

API: Final = "/api/payments"
LASTING_SECONDS: Final = 2
_COUNTED: Final = re.compile(r"^caddy_http_(request|response)_duration_seconds_count\{(.*)\} (\d+)$", re.MULTILINE)


async def _behind(request: web.Request) -> web.Response:
    """A service that takes checkouts, cannot take webhooks, and needs long for a quote."""
    if request.path == f"{API}/quote":
        await asyncio.sleep(LASTING_SECONDS)
    return web.Response(status=503 if request.path == f"{API}/webhook" else 200)


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest_asyncio.fixture
async def door(http: aiohttp.ClientSession, tmp_path: Path) -> AsyncIterator[FrontDoor]:
    """The demo's, behind which are checkout and webhook-ingest, and nobody else."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _behind)
    server = await serve(app, host="127.0.0.1", port=0)
    ways = dict.fromkeys(("checkout:8000", "webhook-ingest:8000"), f"127.0.0.1:{server.port}")
    try:
        async with front_door_before(containers(made_variables(tmp_path))["front-door"], ways, tmp_path, http) as made:
            yield made
    finally:
        await server.stop()


async def _asked(http: aiohttp.ClientSession, method: str, url: str, times: int) -> set[int]:
    answers = set()
    for _ in range(times):
        async with http.request(method, url) as answer:
            answers.add(answer.status)
    return answers


async def _counted(http: aiohttp.ClientSession, door: FrontDoor) -> dict[str, dict[str, int]]:
    """Requests that are over, and answers of those behind the door, by status: what the rules select of them."""
    async with http.get(f"http://{door.exposition}/metrics") as answer:
        text = await answer.text()
    found: dict[str, dict[str, int]] = {"request": {}, "response": {}}
    for kind, labels, value in _COUNTED.findall(text):
        given = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if given["handler"] == "subroute":
            found[kind][given["code"]] = found[kind].get(given["code"], 0) + int(value)
    return found


async def test_a_5xx_of_the_door_itself_is_a_request_without_an_answer(
    http: aiohttp.ClientSession, door: FrontDoor
) -> None:
    assert await _asked(http, "GET", f"{door.url}{API}/orders/ord_1", 5) == {200}
    assert await _asked(http, "POST", f"{door.url}{API}/webhook", 3) == {503}
    assert await _asked(http, "GET", f"{door.url}{API}/unsubscribe", 2) == {502}
    assert await _asked(http, "GET", f"{door.url}/admin/products", 4) == {404}
    async with http.post(f"{door.secure_url}{API}/webhook", ssl=False) as answer:  # an authority of its own
        assert answer.status == 503
    async with http.get(f"{door.secure_url}{API}/refunds", ssl=False) as answer:
        assert answer.status == 502

    counted = await _counted(http, door)

    assert counted["request"] == {"200": 5, "503": 4, "502": 3, "404": 4}
    assert counted["response"] == {"200": 5, "503": 4, "404": 4}


async def test_a_guest_who_does_not_wait_is_no_failure(http: aiohttp.ClientSession, door: FrontDoor) -> None:
    with contextlib.suppress(TimeoutError):
        await http.post(f"{door.url}{API}/quote", timeout=aiohttp.ClientTimeout(total=LASTING_SECONDS / 4))

    async def over() -> dict[str, int]:
        return (await _counted(http, door))["request"]

    counted = await eventually(over, within_seconds=10, what="the request to be over")
    assert not [code for code in counted if code.startswith("5")]


async def test_who_asks_whether_it_lives_is_no_guest_and_no_guest_sees_what_it_counts(
    http: aiohttp.ClientSession, door: FrontDoor
) -> None:
    assert await _asked(http, "GET", f"http://{door.exposition}/healthz", 3) == {200}
    assert await _counted(http, door) == {"request": {}, "response": {}}

    assert await _asked(http, "GET", f"{door.url}/metrics", 1) == {404}
