"""The database server as it is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """The database at one moment; from `committed` on, what was counted since the server's statistics began."""

    connections: int
    connections_max: int
    locks_awaited: int
    transaction_ids_used: int
    committed: int
    rolled_back: int
    cache: int
    disk: int
    fetched: int
    inserted: int
    updated: int
    deleted: int
    deadlocks: int
    temporary_bytes: int


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """Whether the server's log is kept somewhere else, and since when what was written is on its own disk alone."""

    archiving: bool
    failures: int
    unarchived_seconds: float


@dataclass(frozen=True, slots=True)
class SchemaState:
    """A schema's tables with their indexes."""

    schema: str
    bytes: int
    dead_rows: int
