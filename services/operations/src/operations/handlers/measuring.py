"""How the servers are that nobody else here speaks for: PostgreSQL, and the doors of the platform."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from operations.gateway.doors import knock
from operations.model.doors import Door
from operations.model.server import ArchiveState, DatabaseState
from operations.store import server
from payments_shared import metrics
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.messaging.connection import wait_first
from payments_shared.postgres import Pool, acquire, is_unavailable

DATABASE_SECONDS: Final = 10.0  # no slower than Prometheus asks
SIZES_SECONDS: Final = 60.0  # each table is looked at
BACKUPS_SECONDS: Final = 60.0
DOORS_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Measuring:
    """Every instance measures for itself, since each is asked what it has measured."""

    pool: Pool
    doors: Sequence[Door]

    async def run(self, stopping: asyncio.Event) -> None:
        """Measure until `stopping`; while the database is away, what was measured last stays."""
        await asyncio.gather(
            _every(DATABASE_SECONDS, self.measure_database, stopping),
            _every(SIZES_SECONDS, self.measure_sizes, stopping),
            _every(BACKUPS_SECONDS, self.measure_backups, stopping),
            _every(DOORS_SECONDS, self.measure_doors, stopping),
        )

    async def measure_database(self) -> None:
        """Set what changes all the time."""
        async with acquire(self.pool) as connection:
            _show(await server.measure_database(connection))
            _show_archive(await server.measure_archive(connection))

    async def measure_sizes(self) -> None:
        """Set what grows slowly."""
        async with acquire(self.pool) as connection:
            metrics.POSTGRES_DATABASE_BYTES.set(await server.measure_bytes(connection))
            found = await server.measure_schemas(connection, [schema_name(service) for service in SERVICES])
        for state in found:
            metrics.POSTGRES_SCHEMA_BYTES.labels(state.schema).set(state.bytes)
            metrics.POSTGRES_DEAD_ROWS.labels(state.schema).set(state.dead_rows)

    async def measure_backups(self) -> None:
        """Set what whoever backs the server up has written down."""
        async with acquire(self.pool) as connection:
            metrics.POSTGRES_BASE_BACKUP_SECONDS.set(await server.measure_base_backups(connection))

    async def measure_doors(self) -> None:
        """Set what doors show; of one that cannot be reached, what it showed last stays."""
        for door in self.doors:
            certificate = await knock(door)
            metrics.CERTIFICATE_SHOWN.labels(door.name).set(int(certificate is not None))
            if certificate is None:
                log.warning("door.not_reached", door=door.name)
                continue
            metrics.CERTIFICATE_BEGINS.labels(door.name).set(certificate.begins.timestamp())
            metrics.CERTIFICATE_ENDS.labels(door.name).set(certificate.ends.timestamp())


def _show(state: DatabaseState) -> None:
    metrics.POSTGRES_CONNECTIONS.set(state.connections)
    metrics.POSTGRES_CONNECTIONS_MAX.set(state.connections_max)
    metrics.POSTGRES_LOCKS_AWAITED.set(state.locks_awaited)
    metrics.POSTGRES_TRANSACTION_IDS.set(state.transaction_ids_used)
    for outcome in ("committed", "rolled_back"):
        metrics.POSTGRES_TRANSACTIONS.set(getattr(state, outcome), outcome)
    for source in ("cache", "disk"):
        metrics.POSTGRES_BLOCKS.set(getattr(state, source), source)
    for act in ("fetched", "inserted", "updated", "deleted"):
        metrics.POSTGRES_ROWS.set(getattr(state, act), act)
    metrics.POSTGRES_DEADLOCKS.set(state.deadlocks)
    metrics.POSTGRES_TEMPORARY_BYTES.set(state.temporary_bytes)


def _show_archive(state: ArchiveState) -> None:
    metrics.POSTGRES_ARCHIVING.set(int(state.archiving))
    metrics.POSTGRES_ARCHIVE_FAILURES.set(state.failures)
    metrics.POSTGRES_UNARCHIVED_SECONDS.set(state.unarchived_seconds)


async def _every(seconds: float, measure: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            await measure()
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("measuring.database_unavailable", error=type(error).__name__)
        await wait_first(stopping, timeout_seconds=seconds)
