"""Killed at any moment, the simulator has done what it answered, and answers again what it did."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
import pytest_asyncio

from tests.sandbox.stripe.simulator import CARD, Json, Process, a_session, receiving
from tests.support.deadline import eventually

ROUNDS: Final = 3
REFUNDS: Final = 40


@pytest_asyncio.fixture(loop_scope="session")
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    """A simulator as a process of its own, with a shop that it delivers to."""
    fresh = aiohttp.TCPConnector(force_close=True)  # a connection to a killed process is of no use
    async with receiving() as shop, aiohttp.ClientSession(connector=fresh) as http:
        running = Process(tmp_path, http, shop)
        running.start()
        yield running
        running.child.stop()


async def test_what_was_answered_survives_a_kill_and_nothing_happens_twice(process: Process) -> None:
    intent = await _paid(process)
    answers: dict[str, Json] = {}

    for round_ in range(ROUNDS):
        answers |= await _refund_until_killed(process, intent, round_)
        process.start()

    replays = {}
    for key in (f"r{round_}-{n}" for round_ in range(ROUNDS) for n in range(REFUNDS)):
        replays[key] = await _refund(process, intent, key)
    made = (await process.get("refunds", {"payment_intent": intent, "limit": 100}))["data"]
    more = (await process.get("refunds", {"payment_intent": intent, "limit": 100, "starting_after": made[-1]["id"]}))[
        "data"
    ]

    assert answers
    assert all(replays[key] == answer for key, answer in answers.items())
    assert sorted(refund["id"] for refund in made + more) == sorted(replay["id"] for replay in replays.values())
    assert len(made + more) == ROUNDS * REFUNDS


async def test_events_that_were_not_delivered_before_a_kill_are_delivered_after_it(process: Process) -> None:
    process.shop.answers = [500]
    intent = await _paid(process)
    await eventually(_heard(process, 1), what="a first attempt")
    process.child.kill()
    process.shop.answers = [200]
    process.shop.heard.clear()

    process.start()

    await eventually(_heard(process, 4), what="the deliveries after the restart")
    events = {heard.event["id"]: heard.event["type"] for heard in process.shop.heard}
    assert {"payment_intent.succeeded", "checkout.session.completed"} <= set(events.values())
    assert (await process.get(f"payment_intents/{intent}"))["status"] == "succeeded"


async def test_the_clock_and_what_falls_due_survive_a_kill(process: Process) -> None:
    session = await process.post("checkout/sessions", a_session())
    await process.control("clock", {"advance_seconds": 80_000})
    process.child.kill()

    process.start()
    await process.control("clock", {"advance_seconds": 7_000})

    listed = await process.get("events", {"type": "checkout.session.expired"})
    assert [event["data"]["object"]["id"] for event in listed["data"]] == [session["id"]]
    assert (await process.get(f"checkout/sessions/{session['id']}"))["status"] == "expired"


async def _paid(process: Process) -> str:
    session = await process.post("checkout/sessions", a_session(100_000))
    form = {"number": CARD, "email": "ada@example.com", "name": "Ada", "method": "card"}
    async with process.http.post(f"{process.url}/c/pay/{session['id']}", data=form, allow_redirects=False) as answer:
        assert answer.status == 303
    return str((await process.get(f"checkout/sessions/{session['id']}"))["payment_intent"])


async def _refund(process: Process, intent: str, key: str) -> Json:
    return await process.post("refunds", {"payment_intent": intent, "amount": 7, "metadata": {"key": key}}, key=key)


async def _refund_until_killed(process: Process, intent: str, round_: int) -> dict[str, Json]:
    """Ask for refunds, kill the process when a third has been answered, and return the answers that came."""
    answers: dict[str, Json] = {}

    async def one(key: str) -> None:
        answers[key] = await _refund(process, intent, key)
        if len(answers) == REFUNDS // 3:
            process.child.popen.kill()

    results = await asyncio.gather(*(one(f"r{round_}-{n}") for n in range(REFUNDS)), return_exceptions=True)
    process.child.kill()
    lost = [result for result in results if result is not None]
    assert all(isinstance(each, aiohttp.ClientError | json.JSONDecodeError | OSError) for each in lost), lost
    return answers


def _heard(process: Process, count: int) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return len(process.shop.heard) >= count

    return probe
