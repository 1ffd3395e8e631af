"""Sessions of people at the console, found by the hash of their token."""

from datetime import datetime

from operations.model.people import Person, Role
from payments_shared.postgres import Connection
from payments_shared.queries import load_queries

_QUERIES = load_queries("operations")


async def insert(
    connection: Connection,
    token_hash: bytes,
    person: Person,
    lifetime_seconds: float,
    access: tuple[bytes, datetime] | None,
) -> None:
    """Open a session that ends after `lifetime_seconds` at the latest. `access`: the person's sealed token for the
    services, and when it ends."""
    roles = sorted(person.roles)
    sealed, ends_at = access or (None, None)
    sql = _QUERIES["insert_session"]
    await connection.execute(sql, token_hash, person.subject, person.name, roles, lifetime_seconds, sealed, ends_at)


async def sealed_access(connection: Connection, token_hash: bytes) -> bytes | None:
    """The sealed token for the services of a session that is not over; None where it has none."""
    found: bytes | None = await connection.fetchval(_QUERIES["sealed_access"], token_hash)
    return found


async def find(connection: Connection, token_hash: bytes, idle_seconds: float) -> Person | None:
    """Whose session it is; None for one that is over, or lay idle for too long."""
    row = await connection.fetchrow(_QUERIES["find_session"], token_hash, idle_seconds)
    return None if row is None else Person(row["subject"], row["name"], frozenset(map(Role, row["roles"])))


async def touch(connection: Connection, token_hash: bytes, every_seconds: float) -> None:
    """Somebody is there."""
    await connection.execute(_QUERIES["touch_session"], token_hash, every_seconds)


async def revoke(connection: Connection, token_hash: bytes) -> str | None:
    """End a session and return whose it was; None when it had been ended, or is none."""
    subject: str | None = await connection.fetchval(_QUERIES["revoke_session"], token_hash)
    return subject


async def forget(connection: Connection) -> None:
    """Delete what ended a month ago."""
    await connection.execute(_QUERIES["forget_sessions"])
