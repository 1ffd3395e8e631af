"""A database that is copied from a migrated one is what the migrations make, rights included."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
import pytest_asyncio

from payments_shared.provision import Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import provisioned

pytestmark = pytest.mark.servers

RELATIONS = """
    SELECT n.nspname, c.relname, c.relkind, c.relacl::text, obj_description(c.oid) FROM pg_class AS c
      JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"""
FUNCTIONS = "SELECT p.oid::regprocedure::text, p.proacl::text, p.prosrc FROM pg_proc AS p WHERE p.oid >= 16384"
DEFAULTS = "SELECT defaclnamespace::regnamespace::text, defaclobjtype, defaclacl::text FROM pg_default_acl"
SCHEMAS = "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'"
TRIGGERS = "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
CONSTRAINTS = (
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE oid >= 16384"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def migrated(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(replace(servers, template=None)) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def copied(servers: Servers, migrated: Provisioned) -> AsyncIterator[Provisioned]:
    async with provisioned(replace(servers, template=migrated.database)) as made:
        yield made


async def all_of(made: Provisioned) -> dict[str, set[tuple[object, ...]]]:
    owner = await asyncpg.connect(made.owner_database_url)
    kinds = {"relations": RELATIONS, "functions": FUNCTIONS, "defaults": DEFAULTS, "schemas": SCHEMAS,
             "triggers": TRIGGERS, "constraints": CONSTRAINTS}  # fmt: skip
    found = {kind: {tuple(row) for row in await owner.fetch(sql)} for kind, sql in kinds.items()}
    await owner.close()
    return found


async def test_a_copy_has_what_the_migrations_made(migrated: Provisioned, copied: Provisioned) -> None:
    made, copy = await all_of(migrated), await all_of(copied)

    assert len(made["relations"]) > 300
    assert copy == made


async def test_a_login_of_a_copy_writes_in_its_own_schema(copied: Provisioned) -> None:
    connection = await asyncpg.connect(copied.database_urls["checkout"])
    try:
        assert await connection.fetchval("SELECT count(*) FROM checkout.orders") == 0
        await connection.execute("UPDATE checkout.outbox SET published_at = now()")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT count(*) FROM refunds.refunds")
    finally:
        await connection.close()


async def test_a_login_of_the_copied_database_is_no_login_of_the_copy(
    migrated: Provisioned, copied: Provisioned
) -> None:
    url = migrated.database_urls["checkout"].rpartition("/")[0] + "/" + copied.database

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(url)
