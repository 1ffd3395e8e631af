"""A process that is told to end sees its guests off before it closes a door."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from payments_shared.http import Api, internal_app, public_app, serve
from payments_shared.process import Process


@dataclass(slots=True)
class House:
    """A process with a front door, `/slow` of which waits for `finish`, and a back door."""

    process: Process
    front: str
    back: str
    asked: asyncio.Event
    finish: asyncio.Event
    http: aiohttp.ClientSession

    async def connection_after(self, url: str) -> str | None:
        async with self.http.get(url) as answer:
            await answer.read()
            return answer.headers.get("Connection")

    async def readiness(self) -> tuple[int, object]:
        async with self.http.get(f"{self.back}/readyz") as answer:
            return answer.status, await answer.json()


@pytest_asyncio.fixture(loop_scope="session")
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """One that takes two seconds for its leave, or as many as the test asks for."""
    process = Process("house", drain_seconds=10, leave_seconds=getattr(request, "param", 2.0))
    asked, finish = asyncio.Event(), asyncio.Event()

    async def quick(_: web.Request) -> web.Response:
        return web.json_response({})

    async def slow(_: web.Request) -> web.Response:
        asked.set()
        await finish.wait()
        return web.json_response({})

    outside = public_app(service="house")
    outside.add_routes([web.get("/quick", quick), web.get("/slow", slow)])
    front = await serve(outside, host="127.0.0.1", port=0)
    back = await serve(internal_app(api=Api("house", "A house."), checks={}), host="127.0.0.1", port=0)
    process.front_door("front", front)
    process.back_door("back", back)
    async with aiohttp.ClientSession() as http:
        yield House(process, front.url, back.url, asked, finish, http)


async def test_while_it_leaves_it_is_not_ready_and_serves_with_answers_that_end_their_connection(house: House) -> None:
    assert await house.readiness() == (200, {"status": "ok", "failing": {}})
    assert await house.connection_after(f"{house.front}/quick") is None
    draining = asyncio.create_task(house.process.drain())
    await asyncio.sleep(0)

    assert await house.readiness() == (503, {"status": "fail", "failing": {"leaving": "it was told to stop"}})
    assert await house.connection_after(f"{house.front}/quick") == "close"

    await draining
    assert not house.process.failed


async def test_who_is_inside_is_answered_before_the_door_closes(house: House) -> None:
    inside = asyncio.create_task(house.connection_after(f"{house.front}/slow"))
    await house.asked.wait()
    draining = asyncio.create_task(house.process.drain())
    refused = asyncio.create_task(_refused(house))
    await refused

    house.finish.set()

    assert await inside == "close"
    await draining
    assert not house.process.failed


async def _refused(house: House) -> None:
    while True:
        try:
            await house.connection_after(f"{house.front}/quick")
        except aiohttp.ClientConnectorError:
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("house", [3600.0], indirect=True)
async def test_a_process_that_lost_a_part_does_not_wait_for_its_guests(house: House) -> None:
    async def lost() -> None:
        raise RuntimeError("lost")

    house.process.background("part", lost)
    await house.process.terminating.wait()

    await house.process.drain()

    assert house.process.failed
    await _refused(house)
