"""Readiness of the database: it answers, and our schema is as new as our code."""

from collections.abc import Awaitable, Callable, Mapping

from payments_shared.migrations import load_migrations, unapplied
from payments_shared.postgres import Pool, acquire

Check = Callable[[], Awaitable[str | None]]


def database_checks(pool: Pool, package: str) -> Mapping[str, Check]:
    """Checks `database` and `migrations` for the service whose package (and schema) is `package`."""
    migrations = load_migrations(package)

    async def database() -> str | None:
        async with acquire(pool) as connection:
            await connection.execute("SELECT 1")
        return None

    async def current() -> str | None:
        async with acquire(pool) as connection:
            missing = await unapplied(connection, migrations=migrations)
        return f"not applied: {', '.join(missing)}" if missing else None

    return {"database": database, "migrations": current}
