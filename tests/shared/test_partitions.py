"""A day whose first rows came before its partition is no reason to stop."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox, drain
from payments_shared.postgres import open_pool
from payments_shared.provision import Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import half_of, provisioned
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


@pytest_asyncio.fixture(loop_scope="session")
async def owner(made: Provisioned) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(made.owner_database_url)
    yield connection
    await connection.close()


async def partitions(owner: Connection) -> dict[str, int]:
    """Which partition holds how many rows of the outbox."""
    rows = await owner.fetch("SELECT tableoid::regclass::text AS name, count(*) FROM checkout.outbox GROUP BY 1")
    return {row["name"]: row["count"] for row in rows}


async def days(owner: Connection, *ahead: int) -> list[bool]:
    """Whether those days, counted from today, have a partition."""
    sql = "SELECT to_regclass('checkout.outbox_' || to_char(current_date + $1::int, 'YYYYMMDD')) IS NOT NULL"
    return [await owner.fetchval(sql, day) for day in ahead]


async def forget(owner: Connection, *ahead: int) -> None:
    """As when the service did not run while those days came near."""
    for day in ahead:
        name = await owner.fetchval("SELECT 'outbox_' || to_char(current_date + $1::int, 'YYYYMMDD')", day)
        await owner.execute(f"DROP TABLE checkout.{name}")


async def say(made: Provisioned) -> None:
    """A row of today while nothing runs."""
    pool = await open_pool(made.database_urls["checkout"], schema="checkout", application_name="test")
    async with Outbox(pool, service="checkout").transaction() as tx:
        tx.announce(OrderExpired(order_id=new_id()))
    await pool.close()


async def test_partitions_are_made_before_the_first_row(
    made: Provisioned, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that was off for days heard its first messages before the hourly job made their partition."""

    async def never(_: Outbox, __: str, stopping: asyncio.Event) -> None:
        await stopping.wait()

    monkeypatch.setattr(drain, "_keep_partitions", never)
    await forget(owner, 0, 1, 2, 3)

    async with half_of("checkout", made):
        assert await days(owner, 0, 1, 2, 3) == [True] * 4


async def test_a_day_that_began_among_the_other_days_stays_there_and_stops_nothing(
    made: Provisioned, owner: Connection
) -> None:
    """The database refuses the partition with a check violation, which ended the process at every start."""
    await forget(owner, 0, 2)
    await say(made)
    assert await partitions(owner) == {"checkout.outbox_other_days": 1}

    with capture_logs() as logs:
        async with half_of("checkout", made) as half:
            await half.announce(OrderExpired(order_id=new_id()))

            async def said() -> bool:
                return await half.unpublished() == 0

            await eventually(said, what="both messages said")
            assert await partitions(owner) == {"checkout.outbox_other_days": 2}
            assert await days(owner, 0, 1, 2, 3) == [False, True, True, True], "only that day is skipped"

    skipped = [entry for entry in logs if entry["event"] == "partitions.day_skipped"]
    assert skipped
    assert {entry["log_level"] for entry in skipped} == {"error"}
    assert "outbox" in skipped[0]["detail"]
