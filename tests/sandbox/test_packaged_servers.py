"""A machine without servers gets them out of the distribution's packages, and they run there."""

import asyncpg

from sandbox.services import debian_packages
from sandbox.services.postgres_server import PostgresServer, packaged_bindir


async def test_postgresql_out_of_its_package_serves_without_being_installed() -> None:
    bindir = packaged_bindir()
    server = PostgresServer(bindir)

    server.start()

    try:
        connection = await asyncpg.connect(server.dsn)
        assert "PostgreSQL" in await connection.fetchval("SELECT version()")
        await connection.close()
    finally:
        server.remove()
    assert bindir.is_relative_to(debian_packages.cache_home())
    assert not server.home.exists()
