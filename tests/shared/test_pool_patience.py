"""A busy pool is waited for; a pool on a server that is away is not."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from payments_shared import postgres
from payments_shared.clock import monotonic_seconds
from payments_shared.postgres import Pool, acquire, open_connection, open_pool
from sandbox.services.resolver import Servers


@pytest_asyncio.fixture(loop_scope="session")
async def pool(servers: Servers) -> AsyncIterator[Pool]:
    """Two connections."""
    opened = await open_pool(servers.admin_dsn, schema="public", application_name="test", max_size=2)
    yield opened
    opened.terminate()


async def test_a_crowd_waits_longer_than_a_stall_and_everybody_is_served(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STALL_SECONDS", 0.4)
    started = monotonic_seconds()

    async def one() -> object:
        async with acquire(pool) as connection:
            return await connection.fetchval("SELECT pg_sleep(0.1)")

    await asyncio.gather(*(one() for _ in range(24)))

    assert monotonic_seconds() - started > 1.0, "the last waited for longer than a stall"
    assert pool.callers == 0


async def test_a_pool_that_gives_nothing_back_ends_the_wait(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "STALL_SECONDS", 0.4)
    async with acquire(pool), acquire(pool):
        started = monotonic_seconds()

        with pytest.raises(TimeoutError):
            async with acquire(pool):
                pytest.fail("there is no third connection")

        assert monotonic_seconds() - started < 1.5
    async with acquire(pool) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert pool.callers == 0


async def test_a_connection_that_takes_too_long_to_make_is_made_again_while_others_come_back(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STALL_SECONDS", 0.4)
    make, tries = pool._get_new_connection, 0  # type: ignore[attr-defined] # not in its stubs

    async def slow() -> object:
        nonlocal tries
        tries += 1
        if tries > 1:
            return await make()
        await asyncio.sleep(0.6)  # longer than a stall
        raise TimeoutError

    async def others() -> None:
        for _ in range(10):
            async with acquire(pool) as connection:
                await connection.fetchval("SELECT pg_sleep(0.1)")

    async with acquire(pool) as first:
        await first.fetchval("SELECT 1")
    monkeypatch.setattr(type(pool), "_get_new_connection", lambda _: slow())
    busy = asyncio.ensure_future(others())
    await asyncio.sleep(0.05)
    async with acquire(pool) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await busy

    assert tries == 2
    assert pool.callers == 0


async def test_who_comes_first_finds_connections_that_were_made_before(servers: Servers) -> None:
    made = await open_pool(servers.admin_dsn, schema="public", application_name="test", ready=3, max_size=4)
    away = await open_pool("postgresql://nobody@127.0.0.1:1/none", schema="public", application_name="test", ready=3)

    assert (made.get_idle_size(), away.get_size()) == (3, 0)

    made.terminate()
    away.terminate()


async def test_connections_that_come_back_dead_keep_nobody_waiting(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a frozen server each of them made those who waited wait for the next one."""
    monkeypatch.setattr(postgres, "STALL_SECONDS", 0.4)
    let_in = 0

    async def one() -> None:
        nonlocal let_in
        async with acquire(pool):
            let_in += 1
            await asyncio.sleep(0.3)  # as long as a command may take
            raise TimeoutError

    ends = await asyncio.gather(*(one() for _ in range(24)), return_exceptions=True)

    assert {type(end) for end in ends} == {TimeoutError}
    assert let_in <= 12
    assert pool.callers == 0


async def test_a_caller_who_gives_up_takes_no_connection_along(pool: Pool) -> None:
    for _ in range(20):
        async with acquire(pool), acquire(pool):
            waiting = asyncio.ensure_future(acquire(pool).__aenter__())
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    async with acquire(pool) as first, acquire(pool) as second:
        assert await first.fetchval("SELECT 1") == await second.fetchval("SELECT 1")
    assert pool.callers == 0


async def test_a_connection_goes_back_without_a_word_to_the_server(pool: Pool, servers: Servers) -> None:
    async with acquire(pool) as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        await connection.fetchval("SELECT 'the last word'")

    assert await _as_left(servers, pid) == ("idle", "SELECT 'the last word'")


async def test_whoever_fails_leaves_no_transaction_open(pool: Pool, servers: Servers) -> None:
    pids = []

    async def fail() -> None:
        async with acquire(pool) as connection:
            pids.append(await connection.fetchval("SELECT pg_backend_pid()"))
            await connection.execute("BEGIN")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await _as_left(servers, pids[0]) == ("idle", "ROLLBACK")


async def _as_left(servers: Servers, pid: int) -> tuple[str, str]:
    """The state of a session, and what it was told last."""
    watcher = await open_connection(servers.admin_dsn, schema="public", application_name="watcher")
    row = await watcher.fetchrow("SELECT state, query FROM pg_stat_activity WHERE pid = $1", pid)
    await watcher.close()
    assert row is not None
    return row["state"], row["query"]
