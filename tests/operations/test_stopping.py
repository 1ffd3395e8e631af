"""A bulk that is paused or canceled sends nothing more; what it had tried to send comes to its end."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.operations.desk import BULKS, LETTERS, Desk, unheld
from tests.support.deadline import eventually

UNHELD = "order.unheld.v1"
HELD_BY = 4711  # an advisory lock of these tests


@contextlib.asynccontextmanager
async def none_tried(desk: Desk) -> AsyncIterator[None]:
    """The worker claims, and fails before it sends."""
    async with trigger(desk, "operations.refuse_change()"):
        yield


@contextlib.asynccontextmanager
async def held_before_it_sends(desk: Desk) -> AsyncIterator[asyncio.Event]:
    """The worker stands between claim and sending until the event is set."""
    await desk.owner.execute(f"""
        CREATE OR REPLACE FUNCTION operations.hold() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock({HELD_BY}); RETURN NULL; END $$""")
    release = asyncio.Event()
    async with trigger(desk, "operations.hold()"), desk.owner.acquire() as holder:
        await holder.execute("SELECT pg_advisory_lock($1)", HELD_BY)
        releasing = asyncio.create_task(_release(holder, release))
        try:
            yield release
        finally:
            release.set()
            await releasing


async def _release(holder: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", release: asyncio.Event) -> None:
    await release.wait()
    await holder.execute("SELECT pg_advisory_unlock($1)", HELD_BY)


@contextlib.asynccontextmanager
async def trigger(desk: Desk, function: str) -> AsyncIterator[None]:
    """`function` runs whenever replays are marked as tried."""
    await desk.owner.execute(
        "CREATE TRIGGER before_trying BEFORE UPDATE OF tried_at ON operations.replays "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {function}"
    )
    try:
        yield
    finally:
        await desk.owner.execute("DROP TRIGGER before_trying ON operations.replays")


async def claimed(desk: Desk, letters: list[str]) -> list[str]:
    """The replays of `letters`, once there are any."""

    async def found() -> list[str]:
        return [str(row["id"]) for row in await desk.replays_of(letters)]

    return await eventually(found, within_seconds=30, what="something is claimed")


async def waits_for_a_lock(desk: Desk, query: str) -> None:
    """Until somebody who asks `query` of the database waits for somebody else."""
    sql = """SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE $1"""

    async def waiting() -> bool:
        return bool(await desk.owner.fetchval(sql, f"%{query}%"))

    await eventually(waiting, within_seconds=10, what=f"{query} waits")


async def other_work(desk: Desk) -> None:
    """Another bulk from start to end: the worker has had its turns."""
    other = await desk.start(filter={"ids": await desk.fail([unheld() for _ in range(3)])})
    await desk.until(other["id"], "done")


async def test_what_is_claimed_and_not_tried_is_open_after_a_cancel_and_goes_again(desk: Desk) -> None:
    messages = [unheld() for _ in range(5)]
    letters = await desk.fail(messages)
    before = await desk.consumed("fulfillment", UNHELD)

    async with none_tried(desk):
        bulk = await desk.start(filter={"ids": letters})
        replays = await claimed(desk, letters)
        status, canceled = await desk.call("POST", f"{BULKS}/{bulk['id']}/cancel", {"reason": "not yet"}, who="piet")

    assert (status, canceled["state"], canceled["counts"]) == (200, "canceled", {"canceled": 5})
    assert await desk.statuses(letters) == {"open": 5}
    rows = [row for row in await desk.replays_of(letters) if str(row["id"]) in replays]
    assert {(row["outcome"], row["tried_at"]) for row in rows} == {("unsent", None)}
    query = "&".join(["status=open", "limit=1000", *(f"id={letter}" for letter in letters)])
    listed = (await desk.call("GET", f"{LETTERS}?{query}"))[1]["dead_letters"]
    assert {row["id"] for row in listed} == set(letters)
    await other_work(desk)
    assert await desk.inboxed("fulfillment", messages) == 0
    again = await desk.start(filter={"ids": letters})
    assert (await desk.until(again["id"], "done"))["counts"] == {"resolved": 5}
    assert await desk.consumed("fulfillment", UNHELD) - before == {"applied": 5 + 3}, "each once"
    audit = [(row["action"], row["actor"], row["reason"]) for row in await desk.audit([str(rows[0]["dead_letter_id"])])]
    assert audit == [
        ("replay", "olga", "a test"),
        ("cancel", "piet", "not yet"),
        ("replay", "olga", "a test"),
        ("resolved", "service:fulfillment", "applied"),
    ]


async def test_what_is_claimed_and_not_tried_waits_while_its_bulk_is_paused(desk: Desk) -> None:
    messages = [unheld() for _ in range(5)]
    letters = await desk.fail(messages)
    path = f"{BULKS}/{{}}/{{}}"

    async with none_tried(desk):
        bulk = await desk.start(filter={"ids": letters})
        await claimed(desk, letters)
        status, _ = await desk.call("POST", path.format(bulk["id"], "pause"), {"reason": "wait"})
        assert status == 200
        replays = await claimed(desk, letters)
    await other_work(desk)

    assert (await desk.bulk(bulk["id"]))["counts"] == {"waiting": 5}
    assert await desk.statuses(letters) == Counter(replaying=len(replays), open=5 - len(replays))
    assert {row["tried_at"] for row in await desk.replays_of(letters)} == {None}
    assert await desk.inboxed("fulfillment", messages) == 0
    status, text, _ = desk.payctl("dlq", "watch", bulk["id"])
    assert (status, text.splitlines()[0]) == (1, "paused (wait): 0 of 5"), "it rests"
    assert (await desk.call("POST", path.format(bulk["id"], "resume"), {"reason": "go on"}))[0] == 200
    assert (await desk.until(bulk["id"], "done"))["counts"] == {"resolved": 5}
    rows = await desk.replays_of(letters)
    assert {str(row["id"]) for row in rows} >= set(replays), "what was claimed before the pause has gone on"
    assert len(rows) == 5


@pytest.mark.parametrize(("verb", "left"), [("cancel", "canceled"), ("pause", "waiting")])
async def test_whoever_stops_a_bulk_waits_for_what_is_about_to_go(desk: Desk, verb: str, left: str) -> None:
    letters = await desk.fail([unheld() for _ in range(5)])

    async with held_before_it_sends(desk) as release:
        bulk = await desk.start(filter={"ids": letters}, rate=0.5)  # one, and nothing more in the next two seconds
        await waits_for_a_lock(desk, "SET tried_at")
        stopping = asyncio.create_task(desk.call("POST", f"{BULKS}/{bulk['id']}/{verb}", {"reason": "enough"}))
        await waits_for_a_lock(desk, "UPDATE bulks")
        assert not stopping.done()
        release.set()
        status, stopped = await stopping
        tried = [row for row in await desk.replays_of(letters) if row["tried_at"]]

    async def at_rest() -> dict[str, int] | None:
        counts: dict[str, int] = (await desk.bulk(bulk["id"]))["counts"]
        return None if counts.get("on_the_way") else counts

    assert status == 200, stopped
    assert tried, "what was about to go was marked before the answer"
    counts = await eventually(at_rest, within_seconds=30, what="what was on the way has ended")
    assert Counter(counts) == Counter({"resolved": len(tried), left: 5 - len(tried)})
    await other_work(desk)
    assert await desk.statuses(letters) == Counter(resolved=len(tried), open=5 - len(tried))


async def test_a_bulk_that_stands_paused_is_measured(desk: Desk) -> None:
    letters = await desk.fail([unheld() for _ in range(3)], service="inventory")
    bulk = await desk.start(filter={"ids": letters}, rate=0.01)
    assert (await desk.call("POST", f"{BULKS}/{bulk['id']}/pause", {"reason": "wait"}))[0] == 200

    async def seconds() -> float:
        async with desk.http.get(desk.deployment.internal_url("operations") + "/metrics") as answer:
            found = re.search(r"^payments_bulk_paused_oldest_seconds (\S+)$", await answer.text(), re.MULTILINE)
        assert found is not None
        return float(found[1])

    async def none() -> bool:
        return await seconds() == 0

    await eventually(seconds, within_seconds=30, what="it is measured")
    await desk.owner.execute(
        "UPDATE operations.bulks SET state = 'canceled', finished_at = now() WHERE state = 'paused'"
    )
    await eventually(none, within_seconds=30, what="nothing is paused any more")
