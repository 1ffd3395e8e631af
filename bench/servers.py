"""The servers that are measured: a broker, and a PostgreSQL that is durable and has its log's files already."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import asyncpg

from sandbox.services.resolver import Servers, private_servers

LOG_FILES: Final = 64  # of 16 MB: `min_wal_size` of a durable server, which keeps as many


@contextlib.asynccontextmanager
async def measured_servers(say: Callable[[str], None]) -> AsyncIterator[Servers]:
    """Servers for one run.

    A server that has run for a while writes over the files of its log. A new one makes each, and no commit ends
    meanwhile: for 45 ms and at each 16 MB, which is what one would measure.

    Raises:
        ServersUnavailable: no programs to run are installed or can be fetched.
    """
    with private_servers(durable=True, say=say) as servers:
        connection = await asyncpg.connect(servers.admin_dsn)
        try:
            for _ in range(LOG_FILES):
                await connection.execute("SELECT pg_logical_emit_message(true, 'bench', '')")
                await connection.execute("SELECT pg_switch_wal()")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
        yield servers
