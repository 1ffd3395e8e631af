"""The age that alerts ask about is the time that a message waits against our will."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from payments_shared.messaging import outbox
from payments_shared.postgres import acquire, open_pool
from sandbox.services.deployment import Deployment

pytestmark = pytest.mark.servers

_INSERT = """
INSERT INTO outbox (day, message_id, shard, type, routing_key, partition_key, body, created_at, available_at, attempts)
VALUES (current_date, gen_random_uuid(), 7, 'x', 'x', 'x', '', now() - make_interval(secs => $1), now() + make_interval(secs => $2), $3)
"""
SHARD = 7  # nobody relays it
RUNBOOK = Path(__file__).parents[2] / "docs/runbooks/outbox.md"


@pytest_asyncio.fixture(loop_scope="session")
async def connection(deployment: Deployment) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Checkout's own login, in a transaction that never commits: no relay sees these rows."""
    pool = await open_pool(
        deployment.provisioned.database_urls["checkout"], schema="checkout", application_name="test", max_size=1
    )
    async with acquire(pool) as one:
        transaction = one.transaction()
        await transaction.start()
        yield one  # type: ignore[misc] # the pool's proxy behaves as a connection
        await transaction.rollback()
    await pool.close()


async def _measured(connection: "asyncpg.Connection[asyncpg.Record]", *rows: tuple[int, int, int]) -> tuple[int, float]:
    """(depth, oldest) of rows given as (seconds since made, seconds until due, attempts)."""
    for made, due, attempts in rows:
        await connection.execute(_INSERT, made, due, attempts)
    row = await connection.fetchrow(outbox._BACKLOG, SHARD)
    assert row is not None
    return row["depth"], row["oldest_seconds"]


async def test_an_empty_outbox_is_as_young_as_can_be(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await _measured(connection) == (0, 0.0)


async def test_a_message_delayed_on_purpose_ages_from_the_moment_it_falls_due(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    depth, oldest = await _measured(connection, (600, -3, 0))

    assert depth == 1
    assert oldest == pytest.approx(3, abs=0.5)


async def test_a_message_not_yet_due_is_not_counted(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert (await _measured(connection, (5, 10 * 365 * 86_400, 0)))[0] == 0


async def test_a_message_that_fails_again_and_again_keeps_its_age(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    depth, oldest = await _measured(connection, (300, -1, 9), (10, -10, 0))

    assert depth == 2
    assert oldest == pytest.approx(300, abs=0.5)


async def test_the_runbook_lists_what_waits_against_our_will_and_nothing_that_is_delayed_on_purpose(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    (query,) = re.findall(r"^```sql\n(.*?)^```$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    await _measured(connection, *[(10, 600, 0)] * 10, (300, 30, 9))

    listed = await connection.fetch(query.replace("<schema>", "checkout"))

    assert [row["attempts"] for row in listed if row["type"] == "x"] == [9]
