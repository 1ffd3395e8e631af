"""How the database's server is, as it tells any login."""

from collections.abc import Sequence

from operations.model.server import ArchiveState, DatabaseState, SchemaState
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("operations")


async def measure_database(connection: Connection) -> DatabaseState:
    """The platform's database, and of its server what bounds it."""
    found = await fetch_one_as(connection, DatabaseState, _QUERIES["measure_database"])
    assert found is not None  # noqa: S101 - the database that is asked exists
    return found


async def measure_archive(connection: Connection) -> ArchiveState:
    """The server's log."""
    found = await fetch_one_as(connection, ArchiveState, _QUERIES["measure_archive"])
    assert found is not None  # noqa: S101 - a server has one archiver
    return found


async def measure_base_backups(connection: Connection) -> float:
    """The age of the newest base backup in seconds; infinite without one."""
    return float(await connection.fetchval(_QUERIES["measure_base_backups"]))


async def measure_bytes(connection: Connection) -> int:
    """The size of the database."""
    return int(await connection.fetchval(_QUERIES["measure_sizes"]))


async def measure_schemas(connection: Connection, names: Sequence[str]) -> list[SchemaState]:
    """The schemas among `names`."""
    return await fetch_as(connection, SchemaState, _QUERIES["measure_schemas"], names)
