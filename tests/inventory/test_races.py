"""The races that locks end, each beside a mutant without the lock that must lose it.

The tables stand in a schema of their own without the stock's constraints, so that the locks alone must hold.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from inventory import store
from inventory.model import Line, Reservation, Standing, State
from payments_shared.clock import utc_now
from payments_shared.ids import new_id
from payments_shared.migrations import load_migrations, migrate
from payments_shared.postgres import Connection, Pool, fetch_as, open_pool
from tests.inventory.builders import a_sku
from tests.support.deadline import eventually
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers

ROUNDS = 25
BUYERS = 6
HOLD = store.QUERIES["hold_stock"]
HOLD_WITHOUT_LOCK = HOLD.replace("FOR UPDATE OF s", "")
CLAIM = store.QUERIES["claim_reservations"]
LOCK_STOCK = store.QUERIES["lock_stock"]
LOCK_STOCK_IN_ANOTHER_ORDER = LOCK_STOCK.replace("ORDER BY sku", "ORDER BY sku DESC")


@pytest.fixture(scope="module")
async def bare(inventory: OneService) -> AsyncIterator[Pool]:
    """Connections to inventory's tables without the constraints that would catch an oversale."""
    dsn = inventory.deployment.provisioned.owner_database_url
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE SCHEMA bare")
    await migrate(connection, schema="bare", migrations=load_migrations("inventory"))
    await connection.execute(
        "ALTER TABLE bare.stock DROP CONSTRAINT stock_conserved, DROP CONSTRAINT stock_never_below_zero"
    )
    await connection.close()
    pool = await open_pool(dsn, schema="bare", application_name="races", max_size=BUYERS + 3)
    yield pool
    await pool.close()


async def take(connection: Connection, sql: str, lines: Sequence[Line], order_id: UUID | None = None) -> bool:
    """What a hold does in its transaction, with `sql` as its statement: whether it holds."""
    skus, quantities = [line.sku for line in lines], [line.quantity for line in lines]
    deadline = utc_now() + timedelta(minutes=45)
    transaction = connection.transaction()
    await transaction.start()
    rows = await fetch_as(connection, store.HoldRow, sql, order_id or new_id(), deadline, skus, quantities)
    if rows[0].taken:
        await transaction.commit()
    else:
        await transaction.rollback()
    return rows[0].taken


async def waiting(pool: Pool, count: int) -> None:
    """Wait until `count` of our connections wait for a lock."""
    sql = """
        SELECT count(*) = $1
          FROM pg_stat_activity
         WHERE application_name = 'races' AND wait_event_type = 'Lock' AND datname = current_database()
    """

    async def all_wait() -> bool:
        return bool(await pool.fetchval(sql, count))

    await eventually(all_wait, what=f"{count} connections waiting for a lock")


@contextlib.asynccontextmanager
async def row_locked(pool: Pool, sku: str) -> AsyncIterator[None]:
    """The row of `sku` locked by somebody else: whoever wants it gathers behind."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM stock WHERE sku = $1 FOR UPDATE", sku)
        yield


async def sold_of_the_last_unit(pool: Pool, sql: str) -> int:
    """How many of several buyers, all at the same point, get the last unit."""
    sku = a_sku()
    await pool.execute("INSERT INTO stock (sku, total, available) VALUES ($1, 1, 1)", sku)

    async def buy() -> bool:
        async with pool.acquire() as connection:
            return await take(connection, sql, [Line(sku, 1)])

    async with row_locked(pool, sku):
        buyers = [asyncio.ensure_future(buy()) for _ in range(BUYERS)]
        await waiting(pool, BUYERS)
    taken = sum(await asyncio.gather(*buyers))
    row = await pool.fetchrow("SELECT available, held FROM stock WHERE sku = $1", sku)
    assert row is not None
    assert (row["available"], row["held"]) == (1 - taken, taken)
    return taken


async def test_the_last_unit_is_sold_once_in_every_round(bare: Pool) -> None:
    sold = [await sold_of_the_last_unit(bare, HOLD) for _ in range(ROUNDS)]

    assert sold == [1] * ROUNDS


async def test_without_the_row_lock_the_last_unit_is_oversold_in_every_round(bare: Pool) -> None:
    sold = [await sold_of_the_last_unit(bare, HOLD_WITHOUT_LOCK) for _ in range(ROUNDS)]

    assert HOLD_WITHOUT_LOCK != HOLD
    assert sold == [BUYERS] * ROUNDS


async def hold_beside_messages(pool: Pool, *, lock_stock: str) -> bool:
    """A batch of messages about two articles that waits for the second of them, while a hold of both comes."""
    first, second = sorted((a_sku(), a_sku()))
    await pool.executemany("INSERT INTO stock (sku, total, available) VALUES ($1, 9, 9)", [(first,), (second,)])

    async def buy() -> bool:
        async with pool.acquire() as connection:
            return await take(connection, HOLD, [Line(first, 1), Line(second, 1)])

    async def apply() -> None:
        async with pool.acquire() as messages, messages.transaction():
            await messages.fetch(lock_stock, [first, second])

    async with row_locked(pool, second):
        batch = asyncio.ensure_future(apply())
        await waiting(pool, 1)
        buyer = asyncio.ensure_future(buy())
        await waiting(pool, 2)
    taken, applied = await asyncio.gather(buyer, batch, return_exceptions=True)
    for outcome in (taken, applied):
        if isinstance(outcome, BaseException):
            raise outcome
    return bool(taken)


async def test_a_hold_and_a_batch_of_messages_lock_stock_in_one_order(bare: Pool) -> None:
    assert await hold_beside_messages(bare, lock_stock=LOCK_STOCK)


async def test_in_another_order_a_hold_and_a_batch_of_messages_wait_for_each_other(bare: Pool) -> None:
    assert LOCK_STOCK_IN_ANOTHER_ORDER != LOCK_STOCK
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await hold_beside_messages(bare, lock_stock=LOCK_STOCK_IN_ANOTHER_ORDER)


async def hold_between(pool: Pool, first: str, second: str) -> bool:
    """A hold that arrives between two statements, `first` and `second`, of a batch with a message about its order."""
    sku, order_id = a_sku(), new_id()
    await pool.execute("INSERT INTO stock (sku, total, available) VALUES ($1, 9, 9)", sku)
    wanted: dict[str, list[object]] = {CLAIM: [order_id], LOCK_STOCK: [sku]}

    async def send() -> bool:
        async with pool.acquire() as connection:
            return await take(connection, HOLD, [Line(sku, 1)], order_id)

    async with pool.acquire() as messages, messages.transaction():
        await messages.fetch(first, wanted[first])
        holder = asyncio.ensure_future(send())
        await waiting(pool, 1)
        await messages.fetch(second, wanted[second])
    return await holder


async def test_a_hold_waits_for_the_cancellation_of_its_order_and_takes_nothing(bare: Pool) -> None:
    assert not await hold_between(bare, CLAIM, LOCK_STOCK)


async def test_with_stock_locked_before_the_order_a_cancellation_and_a_hold_wait_for_each_other(bare: Pool) -> None:
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await hold_between(bare, LOCK_STOCK, CLAIM)


async def test_a_hold_sent_twice_at_once_waits_for_its_twin_and_takes_nothing(bare: Pool) -> None:
    sku, order_id = a_sku(), new_id()
    await bare.execute("INSERT INTO stock (sku, total, available) VALUES ($1, 9, 9)", sku)

    async def send() -> bool:
        async with bare.acquire() as connection:
            return await take(connection, HOLD, [Line(sku, 2)], order_id)

    async with row_locked(bare, sku):
        twins = [asyncio.ensure_future(send()) for _ in range(2)]
        await waiting(bare, 2)
    taken = await asyncio.gather(*twins)

    assert sorted(taken) == [False, True]
    row = await bare.fetchrow("SELECT available, held FROM stock WHERE sku = $1", sku)
    assert row is not None
    assert (row["available"], row["held"]) == (7, 2)


async def test_of_two_batches_about_one_order_the_second_sees_what_the_first_made(bare: Pool) -> None:
    sku, order_id = a_sku(), new_id()
    held = Reservation(order_id, State.HELD, Standing.PROCESSING, None, 1, (Line(sku, 2),))

    async def look() -> Reservation | None:
        async with bare.acquire() as connection, connection.transaction():
            return (await store.lock_reservations(connection, [order_id], made=[order_id])).get(order_id)

    async with bare.acquire() as connection, connection.transaction():
        before = await store.lock_reservations(connection, [order_id], made=[order_id])
        second = asyncio.ensure_future(look())
        await waiting(bare, 1)
        await store.save_reservations(connection, [held])
        await store.insert_lines(connection, [held])

    assert (before, await second) == ({}, held)
