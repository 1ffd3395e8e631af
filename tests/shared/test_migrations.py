"""Migrations: forward only, once, with several starters at once, and never half."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from payments_shared.migrations import Migration, MigrationError, migrate, parse_migration, unapplied
from sandbox.services.resolver import Servers

ONE = parse_migration("0001_create_things.sql", "CREATE TABLE things (id int PRIMARY KEY);")
TWO = parse_migration("0002_add_name.sql", "SELECT pg_sleep(0.2); ALTER TABLE things ADD COLUMN name text;")


@pytest_asyncio.fixture(loop_scope="session")
async def dsn(servers: Servers) -> AsyncIterator[str]:
    """A database of its own."""
    name = "m" + secrets.token_hex(4)
    admin = await asyncpg.connect(servers.admin_dsn)
    await admin.execute(f'CREATE DATABASE "{name}"')
    yield servers.admin_dsn.rpartition("/")[0] + "/" + name
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


async def run(dsn: str, *migrations: Migration) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE SCHEMA IF NOT EXISTS s")
        return await migrate(connection, schema="s", migrations=migrations)
    finally:
        await connection.close()


async def columns(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = 's' AND table_name <> 'schema_migrations'"
    )
    await connection.close()
    return {row["column_name"] for row in rows}


async def test_of_eight_starters_one_works_and_all_are_content(dsn: str) -> None:
    await run(dsn)

    applied = await asyncio.gather(*(run(dsn, ONE, TWO) for _ in range(8)))

    assert max(applied, key=len) == [ONE.name, TWO.name]
    assert sum(map(len, applied)) == 2
    assert {"id", "name"} <= await columns(dsn)


async def test_a_second_run_does_nothing(dsn: str) -> None:
    assert await run(dsn, ONE) == [ONE.name]
    assert await run(dsn, ONE, TWO) == [TWO.name]
    assert await run(dsn, ONE, TWO) == []


async def test_a_file_that_changed_after_it_was_applied_stops_everything(dsn: str) -> None:
    await run(dsn, ONE)
    changed = parse_migration(ONE.name, ONE.sql + " -- harmless?")

    with pytest.raises(MigrationError, match="changed after it was applied"):
        await run(dsn, changed, TWO)

    assert "name" not in await columns(dsn)


async def test_an_older_file_cannot_come_late(dsn: str) -> None:
    await run(dsn, two_alone := parse_migration("0002_create_others.sql", "CREATE TABLE others (id int);"))

    with pytest.raises(MigrationError, match="older than what is already applied"):
        await run(dsn, ONE, two_alone)


async def test_an_older_release_starts_over_a_newer_schema(dsn: str) -> None:
    await run(dsn, ONE, TWO)

    assert await run(dsn, ONE) == []


async def test_a_file_that_fails_leaves_nothing_behind(dsn: str) -> None:
    broken = parse_migration("0002_break.sql", "CREATE TABLE half (a int); SELECT 1/0;")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await run(dsn, ONE, broken)

    assert "a" not in await columns(dsn)
    assert await run(dsn, ONE, TWO) == [TWO.name]


async def test_a_table_in_use_is_not_waited_for_for_ever(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from payments_shared import migrations

    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 300)
    await run(dsn, ONE)
    holder = await asyncpg.connect(dsn)
    await holder.execute("BEGIN; LOCK TABLE s.things")

    with pytest.raises(asyncpg.LockNotAvailableError):
        await run(dsn, ONE, TWO)

    await holder.close()
    assert await run(dsn, ONE, TWO) == [TWO.name]


INDEX = parse_migration(
    "0002_find_things.sql",
    "-- transaction: none\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS things_by_parity ON things ((id % 2));",
)


async def valid_indexes(dsn: str) -> dict[str, bool]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT c.relname, i.indisvalid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = 's.things'::regclass AND NOT i.indisprimary"
    )
    await connection.close()
    return {row["relname"]: row["indisvalid"] for row in rows}


async def test_an_index_that_an_earlier_run_left_half_built_is_built_anew(dsn: str) -> None:
    await run(dsn, ONE)
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO s.things VALUES (1), (3)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await run(dsn, ONE, INDEX)
    assert await valid_indexes(dsn) == {"things_by_parity": False}
    await connection.execute("DELETE FROM s.things WHERE id = 3")
    await connection.close()

    assert await run(dsn, ONE, INDEX) == [INDEX.name]

    assert await valid_indexes(dsn) == {"things_by_parity": True}


async def test_a_starter_that_dies_while_it_builds_an_index_leaves_the_work_to_the_next(dsn: str) -> None:
    await run(dsn, ONE)
    holder = await asyncpg.connect(dsn)
    await holder.execute("BEGIN; INSERT INTO s.things VALUES (1)")  # for whose end the build waits
    builder = asyncio.create_task(run(dsn, ONE, INDEX))
    looking = await asyncpg.connect(dsn)
    while await valid_indexes(dsn) != {"things_by_parity": False}:
        assert not builder.done()
        await asyncio.sleep(0.02)

    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()"
    assert await looking.fetchval(sql, "%CREATE UNIQUE INDEX CONCURRENTLY%")
    with pytest.raises((asyncpg.AdminShutdownError, asyncpg.InterfaceError, ConnectionError)):
        await builder
    await holder.execute("COMMIT")

    assert await run(dsn, ONE, INDEX) == [INDEX.name]
    assert await valid_indexes(dsn) == {"things_by_parity": True}
    await holder.close()
    await looking.close()


async def test_readiness_names_what_is_missing(dsn: str) -> None:
    await run(dsn, ONE)
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "s"})

    assert await unapplied(connection, migrations=[ONE, TWO]) == [TWO.name]
    await connection.close()


@pytest.mark.parametrize("name", ["1_x.sql", "0001.sql", "0001_X.sql", "0001_x.txt", "x.sql"])
def test_a_name_out_of_form_is_refused(name: str) -> None:
    with pytest.raises(MigrationError, match="not named"):
        parse_migration(name, "SELECT 1")
