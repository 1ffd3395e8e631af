"""A process that is told to end sees its guests off before it closes a door."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from payments_shared.http import Api, Server, internal_app, public_app, serve
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


@pytest.mark.parametrize("house", [0.0], indirect=True)
async def test_a_connection_that_nobody_uses_is_closed_with_its_door_and_keeps_it_open_for_no_moment(
    house: House,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.front.rpartition(":")[2]))
    writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")

    async with asyncio.timeout(3):  # of ten, in four of which guests are waited for
        await house.process.drain()
        await reader.read()

    assert reader.at_eof()
    writer.close()


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


@dataclass(slots=True)
class Crowd:
    """A process whose doors have guests that never go by themselves, and what became of it."""

    process: Process
    http: aiohttp.ClientSession
    steps: list[str]
    guests: list[asyncio.Task[int]]

    async def guest(self, register: Callable[[str, Server], None], name: str) -> None:
        """A door of the process, with a guest inside."""
        inside = asyncio.Event()

        async def lasting(_: web.Request) -> web.Response:
            inside.set()
            await asyncio.sleep(3600)
            return web.json_response({})

        app = public_app(service="crowd")
        app.add_routes([web.get("/", lasting)])
        server = await serve(app, host="127.0.0.1", port=0)
        register(name, server)
        self.guests.append(asyncio.create_task(self.status(server.url)))
        await inside.wait()

    async def status(self, url: str) -> int:
        async with self.http.get(url) as answer:
            return answer.status


@pytest_asyncio.fixture(loop_scope="session")
async def crowd() -> AsyncIterator[Crowd]:
    """One with a task that waits to be told to end, and a drain."""
    process, steps = Process("crowd", drain_seconds=5), list[str]()

    async def part() -> None:
        await process.stopping.wait()
        steps.append("told to end")

    async def drained() -> None:
        steps.append("drained")

    process.on_drain("drain", drained)
    process.background("part", part)
    async with aiohttp.ClientSession() as http:
        crowd = Crowd(process, http, steps, [])
        yield crowd
        for guest in crowd.guests:
            guest.cancel()


async def test_guests_who_stay_at_several_doors_keep_no_task_from_ending_and_no_drain_from_running(
    crowd: Crowd,
) -> None:
    await crowd.guest(crowd.process.front_door, "one")
    await crowd.guest(crowd.process.front_door, "another")
    await crowd.guest(crowd.process.back_door, "behind")

    await crowd.process.drain()

    assert crowd.steps == ["told to end", "drained"]
    assert not crowd.process.failed
    left = await asyncio.gather(*crowd.guests, return_exceptions=True)
    assert {isinstance(one, aiohttp.ClientError) for one in left} == {True}, "their connections are closed"


async def test_what_front_doors_need_closed_before_is_closed_before_their_guests_are_waited_for(crowd: Crowd) -> None:
    opened, followed = asyncio.Event(), asyncio.Event()

    async def stream(_: web.Request) -> web.Response:
        opened.set()
        await followed.wait()
        return web.json_response({})

    async def end_streams() -> None:
        followed.set()

    app = public_app(service="crowd")
    app.add_routes([web.get("/", stream)])
    server = await serve(app, host="127.0.0.1", port=0)
    crowd.process.on_terminate("streams", end_streams)
    crowd.process.front_door("front", server)
    following = asyncio.create_task(crowd.status(server.url))
    await opened.wait()

    await crowd.process.drain()

    assert await following == 200
    assert (crowd.steps, crowd.process.failed) == (["told to end", "drained"], False)


class Stuck:
    """A door that never closes."""

    def leave(self) -> None:
        """It does not mind."""

    async def stop(self, *, within_seconds: float = 0.0) -> None:
        """Whatever it was given."""
        await asyncio.sleep(within_seconds + 3600)


@pytest.mark.parametrize("register", [Process.front_door, Process.back_door], ids=["front", "back"])
async def test_a_door_that_does_not_close_is_a_failure_and_all_else_ends_as_ever(
    crowd: Crowd, register: Callable[[Process, str, Stuck], None]
) -> None:
    register(crowd.process, "stuck", Stuck())

    await crowd.process.drain()

    assert crowd.steps == ["told to end", "drained"]
    assert crowd.process.failed


async def test_a_task_that_does_not_end_is_canceled_and_the_drains_run(crowd: Crowd) -> None:
    running: list[asyncio.Task[None] | None] = []

    async def deaf() -> None:
        running.append(asyncio.current_task())
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                crowd.steps.append("canceled")
                if crowd.steps.count("canceled") == 2:
                    raise

    crowd.process.background("deaf", deaf)

    await crowd.process.drain()

    assert crowd.steps == ["told to end", "canceled", "drained"]
    assert crowd.process.failed
    for task in filter(None, running):
        task.cancel()


async def test_the_last_guests_are_answered_by_tasks_that_still_run(crowd: Crowd) -> None:
    """As a webhook is, once the batch that it waits for is stored."""
    asked, stored = asyncio.Event(), asyncio.Event()

    async def storing() -> None:
        while not crowd.process.stopping.is_set():
            await asyncio.sleep(0.05)
            if crowd.process.terminating.is_set():
                stored.set()

    async def webhook(_: web.Request) -> web.Response:
        asked.set()
        await stored.wait()
        return web.json_response({})

    app = public_app(service="crowd")
    app.add_routes([web.post("/", webhook)])
    server = await serve(app, host="127.0.0.1", port=0)
    crowd.process.front_door("front", server)
    crowd.process.background("storing", storing)
    sent = asyncio.create_task(crowd.http.post(server.url))
    await asked.wait()
    crowd.process.terminating.set()

    await crowd.process.drain()

    assert (await sent).status == 200
    assert not crowd.process.failed
