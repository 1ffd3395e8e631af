"""Back up a PostgreSQL while it works, lose it, and restore it to a moment, as docs/runbooks/restore.md prints it.

The base backup is a copy of the files between `pg_backup_start` and `pg_backup_stop`, and the server puts each finished
segment of its log into a folder of its own. Source: PostgreSQL, "Continuous Archiving and Point-in-Time Recovery".
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import asyncpg

from sandbox.services.postgres_server import PostgresServer

LEFT_OUT: Final = ("pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp",
                   "pg_subtrans", "postmaster.pid", "postmaster.opts", "pgsql_tmp*", "pg_internal.init*")  # fmt: skip
"""What a backup need not hold. Of the folders the server wants to find all, empty."""

FOLDERS: Final = tuple(name for name in LEFT_OUT if name.startswith("pg_") and "*" not in name)
ARCHIVING: Final = {
    "archive_mode": "on",
    "archive_command": "sh /etc/payments/archive-segment %p %f /backup/wal",
    "archive_timeout": "60",
}
"""Settings under which a server keeps its log, with the places that they have in a container."""

RESTORING: Final = {
    "restore_command": "gzip -dc /backup/wal/%f.gz > %p",
    "recovery_target_action": "promote",
    "recovery_target_timeline": "current",
}
"""Those under which it takes it back, beside `recovery_target_time`: along the timeline of the base backup, whatever an
earlier restore began."""

SCRIPT: Final = "archive-segment"
DEPLOYED: Final = Path(__file__).parents[4] / "deploy/postgres"
ARCHIVED_SECONDS: Final = 60.0
LOST_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Backups:
    """Where the backup of one server is kept, apart from its data."""

    server: PostgresServer
    folder: Path

    @classmethod
    def of(cls, server: PostgresServer) -> "Backups":
        """A new place, which the server may write."""
        made = cls(server, Path(tempfile.mkdtemp(prefix="pay-backup-")))
        made.segments.mkdir()
        shutil.copy(DEPLOYED / SCRIPT, made.folder)  # who runs the server may not be let into the repository
        made._give(made.folder)
        return made

    @property
    def base(self) -> Path:
        """The base backup."""
        return self.folder / "base"

    @property
    def segments(self) -> Path:
        """The segments of the log."""
        return self.folder / "wal"

    def archiving(self) -> dict[str, str]:
        """Settings under which the server keeps its log here."""
        return {name: self.placed(value) for name, value in ARCHIVING.items()}

    def placed(self, setting: str) -> str:
        """A printed setting, with its places here."""
        return setting.replace("/backup", str(self.folder)).replace("/etc/payments", str(self.folder))

    async def take(self) -> None:
        """A base backup, while others write."""
        connection = await asyncpg.connect(self.server.dsn)
        try:
            await connection.execute("SELECT pg_backup_start('drill', fast => true)")
            await asyncio.to_thread(self._copy)
            row = await connection.fetchrow(
                "SELECT labelfile, spcmapfile FROM pg_backup_stop(wait_for_archive => true)"
            )
        finally:
            await connection.close()
        assert row is not None  # noqa: S101 - a function's result
        (self.base / "backup_label").write_text(row["labelfile"])

    def _copy(self) -> None:
        shutil.copytree(
            self.server.data, self.base, ignore=shutil.ignore_patterns(*LEFT_OUT), copy_function=_copy_if_there
        )
        for name in FOLDERS:
            (self.base / name).mkdir(mode=0o700)

    async def catch_up(self) -> None:
        """Wait until the log up to this moment is kept here.

        Raises:
            TimeoutError: it is not.
        """
        connection = await asyncpg.connect(self.server.dsn)
        try:
            segment = await connection.fetchval("SELECT pg_walfile_name(pg_current_wal_lsn())")
            await connection.execute("SELECT pg_switch_wal()")
        finally:
            await connection.close()
        async with asyncio.timeout(ARCHIVED_SECONDS):
            while not (self.segments / f"{segment}.gz").exists():
                await asyncio.sleep(0.05)

    def lose_server(self) -> None:
        """The server dies, and its data is gone."""
        self.server.kill()
        deadline = time.monotonic() + LOST_SECONDS
        while self.server.data.exists() and time.monotonic() < deadline:  # its backends write until they notice
            shutil.rmtree(self.server.data, ignore_errors=True)

    async def restore(self, moment: datetime) -> None:
        """Start the server as it was at `moment`, and wait until it takes writes."""
        await asyncio.to_thread(self._put_back)
        self.server.settings = {
            **self.server.settings,
            **{name: self.placed(value) for name, value in RESTORING.items()},
            "recovery_target_time": moment.isoformat(),
        }
        await asyncio.to_thread(self.server.start)
        connection = await asyncpg.connect(self.server.dsn)
        try:
            while await connection.fetchval("SELECT pg_is_in_recovery()"):
                await asyncio.sleep(0.05)
        finally:
            await connection.close()

    def _put_back(self) -> None:
        shutil.copytree(self.base, self.server.data)
        (self.server.data / "recovery.signal").touch()
        self.own_data()

    def own_data(self) -> None:
        """Give the data that was put back to whoever runs the server."""
        self.server.data.chmod(0o700)
        self._give(self.server.data)

    def _give(self, folder: Path) -> None:
        if (user := self.server.user) is not None:
            for path in _all(folder):
                os.chown(path, user, user, follow_symlinks=False)

    def remove(self) -> None:
        """Delete the backup."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _all(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")


def _copy_if_there(source: str, target: str) -> None:
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        if Path(source).exists():
            raise
        # A table that was dropped since the folder was read: the log tells of it.
