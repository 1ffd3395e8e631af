"""Every connection to PostgreSQL is made here, with every wait bounded."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeAlias, TypeVar

import asyncpg
import asyncpg.pool

from payments_shared import metrics, tracing
from payments_shared.clock import monotonic_seconds
from payments_shared.errors import Retryable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Row = TypeVar("Row")

CONNECT_TIMEOUT_SECONDS = 2.0
STALL_SECONDS = 2.0  # how long a pool may give nothing back before it counts as away
PATIENCE_SECONDS = 10.0  # how long a caller waits in a pool that is merely busy
COMMAND_TIMEOUT_SECONDS = 4.0  # a frozen server must turn into a 503 within five seconds
STATEMENT_TIMEOUT_MS = 5000
LOCK_TIMEOUT_MS = 2000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 30000

_FIELD_NAMES: dict[type[Any], tuple[str, ...]] = {}


class Unreachable(ConnectionError):
    """A connection to the server could not be made; the cause says why."""


# Not OSError: a template, a file or another server that a handler misses is no reason to wait for the database.
_UNAVAILABLE = (
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of an operation
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # deadlocks and serialization
    asyncpg.InsufficientResourcesError,  # connections, memory, locks, disk
    asyncpg.ReadOnlySQLTransactionError,  # the server was demoted, or protects a full disk
)

# The connection ended under the work; nothing was said of the work itself.
_BROKEN = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)

# The server said nothing: a connection that comes back with one of these is no sign of life.
_SILENCE = (
    asyncio.CancelledError,
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class ImpatientConnection(asyncpg.Connection):  # its stubs are generic, it is not
    """A connection that is dropped once an answer is overdue.

    asyncpg would ask the server to cancel the command and wait for that before every next step: ROLLBACK, reset,
    release. A frozen server never answers, and each step would wait for the whole timeout again. Dropping the
    connection rolls back just as well; the server's own `statement_timeout` ends what may still run there.
    """

    def _cancel_current_command(self, *_: object) -> None:
        asyncio.get_running_loop().call_soon(self.terminate)

    async def execute(self, query: str, *args: Any, **options: Any) -> str:  # Any: the base class's own
        """As asyncpg's own, but a transaction begins with the name of its trace, in the same message to the server.

        `pg_stat_activity` and the server's log then show whose work a lock, a wait or a slow statement is. The name
        ends with the transaction, which asyncpg always begins through here.
        """
        if query == "BEGIN;" and (trace_id := tracing.current_trace_id()) is not None:
            service = self.get_settings().application_name.partition(" ")[0].replace("'", "''")
            query = f"BEGIN; SET LOCAL application_name = '{service} {trace_id}'"
        return str(await super().execute(query, *args, **options))


class Pool(asyncpg.pool.Pool):  # its stubs are generic, it is not
    """A pool that knows how many callers use or await it, and when a connection last came back alive; see
    `acquire`."""

    __slots__ = ("callers", "given_back_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: the base class's own
        super().__init__(*args, **kwargs)
        self.callers = 0
        self.given_back_at = monotonic_seconds()


async def open_pool(
    dsn: str,
    *,
    schema: str,
    application_name: str,
    name: str = "main",
    ready: int = 0,
    max_size: int = 10,
    command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
) -> Pool:
    """A pool whose connections see `schema` first and `payments` (the shared functions) second.

    It opens even while the server is away, so that a service starts degraded instead of not at all. `ready`
    connections are made at once where the server is there: who comes in a crowd to a process that has just begun should
    not wait for that. The others are made on first use. `jsonb` columns are Python values on this side. `name` tells it
    from the others of its process where they are measured.
    """
    pool = await Pool(
        dsn,
        connection_class=_connection_class(),
        record_class=asyncpg.Record,
        loop=None,
        init_size=0,
        min_size=0,
        max_queries=50_000,
        max_size=max_size,
        max_inactive_connection_lifetime=300.0,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=command_timeout_seconds,
        init=_prepare,
        reset=_leave,
        server_settings=session_settings(
            schema=schema, application_name=application_name, statement_timeout_ms=statement_timeout_ms
        ),
    )
    _measure(pool, name)
    await _make(pool, ready)
    return pool


async def _make(pool: Pool, count: int) -> None:
    """As far as it goes: whoever needs one tries again, and readiness says what the matter is."""
    made = await asyncio.gather(*(pool.acquire() for _ in range(count)), return_exceptions=True)
    for one in made:
        if not isinstance(one, BaseException):
            await pool.release(one)


def _measure(pool: Pool, name: str) -> None:
    """Let every exposition show how `pool` stands then."""

    def in_use() -> int:
        return int(pool.get_size() - pool.get_idle_size())

    metrics.POOL_CONNECTIONS.labels(name, "idle").set_function(pool.get_idle_size)
    metrics.POOL_CONNECTIONS.labels(name, "in_use").set_function(in_use)
    metrics.POOL_CONNECTIONS_MAX.labels(name).set(pool.get_max_size())
    metrics.POOL_WAITING.labels(name).set_function(lambda: max(0, pool.callers - in_use()))


def _connection_class() -> type[ImpatientConnection]:
    if tracing.recorder is None:
        return ImpatientConnection
    from payments_shared.telemetry.database import RecordedConnection

    return RecordedConnection


def session_settings(
    *, schema: str, application_name: str, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS
) -> dict[str, str]:
    """What each session is told at its start; timeouts are in milliseconds."""
    return {
        "application_name": application_name,
        "search_path": f"{schema}, payments",
        "timezone": "UTC",
        "statement_timeout": str(statement_timeout_ms),
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
        "jit": "off",
    }


async def open_connection(dsn: str, *, schema: str, application_name: str) -> "asyncpg.Connection[asyncpg.Record]":
    """One connection outside any pool, for locks that belong to a session."""
    with _unreachable():
        connection = await asyncpg.connect(
            dsn,
            connection_class=ImpatientConnection,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            server_settings=session_settings(schema=schema, application_name=application_name),
        )
    await _prepare(connection)
    return connection


async def _prepare(connection: Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def _leave(connection: Connection) -> None:
    """Nothing is asked of the server when a connection goes back to its pool: an open transaction was rolled back, what
    is set is set for a transaction, and a lock that belongs to the session is let go by whoever took it."""


@contextlib.contextmanager
def _unreachable() -> Iterator[None]:
    """Name what the network says while a connection is made: asyncio raises a bare OSError for several addresses."""
    try:
        yield
    except OSError as error:
        if isinstance(error, _UNAVAILABLE):
            raise
        raise Unreachable(str(error)) from error


@contextlib.asynccontextmanager
async def acquire(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of `pool`.

    A pool that is busy is waited for in turn, up to `PATIENCE_SECONDS`: a crowd is slow, not refused, and so is a
    process that has just begun and makes its connections. A pool that gave nothing back for `STALL_SECONDS` stands on
    a server that is away, and the wait ends at once.

    Raises:
        TimeoutError: neither came in time.
        ConnectionError: the server cannot be reached.
    """
    pool.callers += 1
    try:
        with _unreachable():
            connection = await (pool.acquire() if pool.get_idle_size() else _in_turn(pool))
        silent = False
        try:
            yield connection
        except _SILENCE:
            silent = True
            raise
        except asyncpg.ReadOnlySQLTransactionError:
            # After a failover this connection stands on the server that was demoted, and would for ever.
            connection.terminate()
            raise
        finally:
            if not silent:
                pool.given_back_at = monotonic_seconds()
            await pool.release(connection, timeout=CONNECT_TIMEOUT_SECONDS)
    finally:
        pool.callers -= 1


async def _in_turn(pool: Pool) -> "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]":
    started = monotonic_seconds()
    taking = asyncio.ensure_future(pool.acquire())
    try:
        while True:
            done, _ = await asyncio.wait({taking}, timeout=0.25)
            if done and not isinstance(taking.exception(), TimeoutError):
                return taking.result()
            now = monotonic_seconds()
            stalled = now - max(started, pool.given_back_at) > STALL_SECONDS
            if stalled or now - started > PATIENCE_SECONDS:
                raise TimeoutError
            if done:  # to make one took too long, and others have theirs
                taking = asyncio.ensure_future(pool.acquire())
    except BaseException:
        if not taking.cancel() and taking.exception() is None:
            await pool.release(taking.result())
        raise


def is_unavailable(error: BaseException) -> bool:
    """Whether `error` says that the database is away, busy or contended: the same work may succeed later."""
    return isinstance(error, _UNAVAILABLE)


def is_connection_failure(error: BaseException) -> bool:
    """Whether `error` says that the connection to the database ended or could not be made: no fault of the work. What
    ran out of time or waited for a lock may be its own fault, and is none of these."""
    return isinstance(error, _BROKEN)


@contextlib.contextmanager
def unavailable_as_retryable() -> Iterator[None]:
    """Turn an unavailable database into `Retryable("database_unavailable")`."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise Retryable("database_unavailable", "The database did not answer in time.") from error


async def fetch_as(connection: Connection, row_type: type[Row], sql: str, *args: object) -> list[Row]:
    """The rows of `sql` as `row_type`, a dataclass whose fields are the columns, by name.

    Raises:
        TypeError: the columns are not exactly the fields.
    """
    records = await connection.fetch(sql, *args)
    if not records:
        return []
    names = _checked(row_type, records[0])
    if names == _field_names(row_type):
        return [row_type(*record.values()) for record in records]
    return [row_type(**dict(zip(names, record.values(), strict=True))) for record in records]


async def fetch_one_as(connection: Connection, row_type: type[Row], sql: str, *args: object) -> Row | None:
    """The first row of `sql` as `row_type`, or None when there is none."""
    record = await connection.fetchrow(sql, *args)
    return None if record is None else row_type(**dict(zip(_checked(row_type, record), record.values(), strict=True)))


def _field_names(row_type: type[Any]) -> tuple[str, ...]:  # Any: dataclasses have no common static type
    names = _FIELD_NAMES.get(row_type)
    if names is None:
        names = _FIELD_NAMES[row_type] = tuple(field.name for field in dataclasses.fields(row_type))
    return names


def _checked(row_type: type[Any], record: "asyncpg.Record") -> tuple[str, ...]:  # Any: as above
    names = tuple(record.keys())
    if len(names) != len(_field_names(row_type)) or set(names) != set(_field_names(row_type)):
        difference = sorted(set(names) ^ set(_field_names(row_type)))
        raise TypeError(f"columns and fields of {row_type.__name__} differ in {difference}")
    return names
