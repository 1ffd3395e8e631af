"""Forward-only migrations: plain SQL files, one transaction each, safe with several starters at once.

Files are `<package>/sql/migrations/NNNN_verb_object.sql`. A line `-- include: <package>/sql/<file>` is replaced by
that file, so that every service's inbox and outbox are the same. A file that was applied may never change: its
checksum is kept and compared. `-- transaction: none` on the first line runs a file outside a transaction; what an
interrupted run of it left behind, indexes that are not valid, is dropped before the next.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncpg

from payments_shared.postgres import Connection

_FILE_NAME: Final = re.compile(r"^(?P<version>\d{4})_[a-z0-9_]+\.sql$")
_INCLUDE: Final = re.compile(r"^-- include: (?P<package>[a-z_]+)/(?P<path>[a-z0-9_/]+\.sql)$", re.MULTILINE)
_CONCURRENT_INDEX: Final = re.compile(
    r"^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?\"?(?P<name>[a-z0-9_]+)",
    re.MULTILINE | re.IGNORECASE,
)
_LOCK_POLL_SECONDS = 0.1  # a blocked lock call would hold a snapshot and deadlock with CREATE INDEX CONCURRENTLY
LOCK_TIMEOUT_MS = 5000  # a migration that waits longer for a table lock would queue all traffic behind it


class MigrationError(Exception):
    """The files and the database disagree, or a file is malformed. Nothing was applied."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, its includes expanded."""

    version: int
    name: str
    sql: str
    checksum: str
    transactional: bool


def load_migrations(package: str) -> tuple[Migration, ...]:
    """The migrations of `package` in order.

    Raises:
        MigrationError: a file name is malformed, or two files share a version.
    """
    folder = resources.files(package).joinpath("sql/migrations")
    found = sorted((entry.name, entry.read_text(encoding="utf-8")) for entry in folder.iterdir() if entry.is_file())
    migrations = tuple(parse_migration(name, text) for name, text in found if name.endswith(".sql"))
    versions = [migration.version for migration in migrations]
    if len(set(versions)) != len(versions):
        raise MigrationError(f"two migrations of {package} share a version")
    return migrations


def parse_migration(name: str, text: str) -> Migration:
    """One file as a `Migration`."""
    match = _FILE_NAME.match(name)
    if not match:
        raise MigrationError(f"{name} is not named NNNN_verb_object.sql")
    sql = _INCLUDE.sub(_included, text)
    return Migration(
        version=int(match["version"]),
        name=name,
        sql=sql,
        checksum=hashlib.sha256(sql.encode()).hexdigest(),
        transactional=not sql.startswith("-- transaction: none"),
    )


def _included(match: "re.Match[str]") -> str:
    return resources.files(match["package"]).joinpath(match["path"]).read_text(encoding="utf-8")


async def migrate(
    connection: "asyncpg.Connection[asyncpg.Record]", *, schema: str, migrations: Sequence[Migration]
) -> list[str]:
    """Apply what is missing in `schema` and return the names applied.

    `connection` must be allowed to create tables in `schema`. Several callers may run at once; one works, the
    others wait and find nothing left to do.

    Raises:
        MigrationError: an applied file changed or is gone, or an older version is missing.
    """
    lock = f"migrate:{schema}"
    while not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", lock):
        await asyncio.sleep(_LOCK_POLL_SECONDS)
    try:
        await connection.execute(f'SET search_path = "{schema}", payments')
        await connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        await connection.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                version int PRIMARY KEY,
                name text NOT NULL,
                checksum text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )
        applied = {row["version"]: row for row in await connection.fetch("SELECT * FROM schema_migrations")}
        pending = _pending(schema, migrations, {v: (r["name"], r["checksum"]) for v, r in applied.items()})
        for migration in pending:
            await _apply(connection, schema, migration)
        return [migration.name for migration in pending]
    finally:
        await connection.execute("RESET search_path")
        await connection.execute("RESET lock_timeout")
        await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", lock)


def _pending(schema: str, migrations: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> list[Migration]:
    known = {migration.version: migration for migration in migrations}
    for version, (name, checksum) in applied.items():
        migration = known.get(version)
        if migration is None:
            continue  # a newer release ran here before; rolling back the code must not stop it
        if migration.checksum != checksum:
            raise MigrationError(f"{schema}: {name} changed after it was applied")
    pending = [migration for migration in migrations if migration.version not in applied]
    newest = max((version for version in applied if version in known), default=0)
    if late := [migration.name for migration in pending if migration.version < newest]:
        raise MigrationError(f"{schema}: {late[0]} is older than what is already applied")
    return pending


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", schema: str, migration: Migration) -> None:
    record = "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)"
    arguments = (migration.version, migration.name, migration.checksum)
    if migration.transactional:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(record, *arguments)
    else:
        await _drop_half_built(connection, schema, migration)
        await connection.execute(migration.sql)
        await connection.execute(record, *arguments)


async def _drop_half_built(connection: "asyncpg.Connection[asyncpg.Record]", schema: str, migration: Migration) -> None:
    """Drop the indexes that `migration` builds and an earlier run did not finish: they cost with each write, help no
    reader, guard nothing, and IF NOT EXISTS takes them for done. Nobody else builds them now: who did held our lock."""
    names = [found["name"].lower() for found in _CONCURRENT_INDEX.finditer(migration.sql)]
    half_built = await connection.fetch(
        """
        SELECT c.relname AS name
          FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
         WHERE NOT i.indisvalid AND c.relnamespace = to_regnamespace($1) AND c.relname = ANY($2)
        """,
        f'"{schema}"',
        names,
    )
    for index in half_built:
        await connection.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{schema}"."{index["name"]}"')


async def unapplied(connection: Connection, *, migrations: Sequence[Migration]) -> list[str]:
    """Names of the migrations that the service's own schema still lacks; for readiness."""
    rows = await connection.fetch("SELECT version FROM schema_migrations")
    present = {row["version"] for row in rows}
    return [migration.name for migration in migrations if migration.version not in present]
