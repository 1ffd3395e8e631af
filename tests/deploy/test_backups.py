"""The log and the base backups are kept by what is deployed, and the database comes back from them as its page says."""

import asyncio
import gzip
import math
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from operations.handlers.measuring import Measuring
from payments_shared.metrics import REGISTRY
from payments_shared.migrations import load_migrations
from payments_shared.postgres import open_pool
from sandbox.drill.backups import ARCHIVING, DEPLOYED, RESTORING, SCRIPT, Backups
from sandbox.services.postgres_server import PostgresServer, installed_bindir
from tests.deploy.composed import COMPOSE, PRODUCTION, ROOT, Container, containers, made_variables, owners_variables
from tests.support.deadline import eventually
from tests.support.left_out import left_out

PAGE: Final = (ROOT / "docs/runbooks/restore.md").read_text(encoding="utf-8")
SEGMENT: Final = "000000010000000000000007"
(BASE_BACKUPS,) = (one.sql for one in load_migrations("operations") if one.name.endswith("_record_base_backups.sql"))
WRITTEN_DOWN: Final = "SELECT taken_at FROM operations.base_backups ORDER BY taken_at"


# -- one truth -------------------------------------------------------------------------------------------------------


def _printed(lines: str) -> dict[str, str]:
    """The settings among `lines`, as a file of PostgreSQL's has them."""
    return {name: value.strip("'") for name, value in re.findall(r"^ *([a-z_]+) = (\S+|'.*')$", lines, re.MULTILINE)}


def test_the_page_prints_the_settings_that_the_drill_tries() -> None:
    printed = _printed(PAGE)

    assert printed.pop("recovery_target_time").startswith("20")
    assert printed == {**ARCHIVING, **RESTORING}


def _told(postgres: Container) -> dict[str, str]:
    words = [str(word) for word in postgres.given["command"]]
    return dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--archive"))


def test_the_machine_in_production_archives_by_them_and_a_demo_once_it_is_told(tmp_path: Path) -> None:
    made, owned = made_variables(tmp_path), owners_variables(tmp_path)
    demo, told = containers(made), containers({**made, "PAYMENTS_ARCHIVE_MODE": "on"})
    production = containers(owned, [COMPOSE, PRODUCTION])

    assert _told(production["postgres"]) == ARCHIVING
    assert _told(told["postgres"]) == ARCHIVING
    assert _told(demo["postgres"]) == {**ARCHIVING, "archive_mode": "off"}
    assert (demo["backup"].given["profiles"], production["backup"].given.get("profiles")) == (["backup"], None)


@pytest.mark.parametrize("form", ["demo", "production"])
def test_what_the_settings_name_is_mounted_and_can_be_written(form: str, tmp_path: Path) -> None:
    files = [COMPOSE] if form == "demo" else [COMPOSE, PRODUCTION]
    made = containers(made_variables(tmp_path) if form == "demo" else owners_variables(tmp_path), files)
    postgres = {target: (source, read_only) for source, target, read_only in made["postgres"].mounts}
    place = made["backup-place"]
    ((volume, inside, _),) = place.mounts

    assert postgres[f"/etc/payments/{SCRIPT}"] == (f"./postgres/{SCRIPT}", True)
    assert postgres["/backup"] == (volume, False)
    assert place.given["entrypoint"] == ["mkdir", "-p", f"{inside}/wal", f"{inside}/base"]
    assert made["postgres"].depends_on() == {"backup-place": "service_completed_successfully"}
    backup = {target for _, target, _ in made["backup"].mounts}
    assert backup == {"/backup", "/etc/payments/base-backup", "/var/run/postgresql"}
    assert postgres["/var/run/postgresql"] == ("postgres-socket", False)
    assert made["backup"].environment["PGHOST"] == "/var/run/postgresql"
    platform = urlsplit(made["operations"].environment["PAYMENTS_DATABASE_URL"]).path.removeprefix("/")
    assert made["backup"].environment["PGDATABASE"] == platform
    assert made["backup"].given["network_mode"] == "none"


def test_the_owners_directory_is_mounted_where_no_image_has_one_whose_mode_it_would_take(tmp_path: Path) -> None:
    made = containers(owners_variables(tmp_path), [COMPOSE, PRODUCTION])

    places = {
        target
        for name in ("backup-place", "postgres", "backup")
        for source, target, _ in made[name].mounts
        if source == "backup"
    }

    assert places == {"/backup"}


# -- segments --------------------------------------------------------------------------------------------------------


def _archive(segment: Path, folder: Path) -> int:
    command = ["sh", str(DEPLOYED / SCRIPT), str(segment), segment.name, str(folder)]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    file = tmp_path / SEGMENT
    file.write_bytes(os.urandom(100_000) + bytes(1_000_000))
    return file


def test_a_segment_is_kept_packed_and_whole(segment: Path, tmp_path: Path) -> None:
    kept = tmp_path / "wal"
    kept.mkdir()

    assert _archive(segment, kept) == 0

    (file,) = kept.iterdir()
    assert file.name == f"{SEGMENT}.gz"
    assert gzip.decompress(file.read_bytes()) == segment.read_bytes()
    assert file.stat().st_size < 150_000, "what nobody wrote takes no room"


def test_the_same_segment_again_is_no_fault_and_another_of_its_name_is_never_taken(
    segment: Path, tmp_path: Path
) -> None:
    """A server that crashes before it notes that a segment is kept asks again, for ever if it is refused."""
    kept = tmp_path / "wal"
    kept.mkdir()
    assert _archive(segment, kept) == 0
    first = segment.read_bytes()

    again = _archive(segment, kept)
    segment.write_bytes(b"of another server" * 1000)
    other = _archive(segment, kept)

    assert (again, other != 0) == (0, True)
    assert gzip.decompress((kept / f"{SEGMENT}.gz").read_bytes()) == first


def test_without_room_nothing_has_the_name_of_a_segment(segment: Path, tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    limited = f"ulimit -f 8; exec sh {DEPLOYED / SCRIPT} {segment} {SEGMENT} {tmp_path / 'wal'}"

    done = subprocess.run(["bash", "-c", limited], capture_output=True, check=False, timeout=30)

    assert done.returncode != 0
    assert not (tmp_path / "wal" / f"{SEGMENT}.gz").exists()


# -- a server --------------------------------------------------------------------------------------------------------


class Kept:
    """A server that archives as production does, and its base backups."""

    def __init__(self, postgres: PostgresServer) -> None:
        self.postgres = postgres
        self.backups = Backups.of(postgres)
        (self.backups.folder / "base").mkdir()

    def base_backup(self, kept: int, *, before: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """What the container does every ten minutes; `before` stands before its command."""
        return subprocess.run(
            [*before, "sh", str(DEPLOYED / "base-backup"), str(self.backups.folder), str(kept)],
            env={
                "PATH": f"{self.postgres.bindir}:{os.environ['PATH']}",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.postgres.port),
                "PGUSER": "payments",
                "PGPASSWORD": self.postgres.password,
                "PGDATABASE": "postgres",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def bases(self) -> list[str]:
        return sorted(path.name for path in (self.backups.folder / "base").iterdir())

    async def written_down(self) -> list[str]:
        """The base backups of which the database knows, by their names."""
        return [f"{row['taken_at']:%Y-%m-%dT%H-%M-%SZ}" for row in await self.query(WRITTEN_DOWN)]

    def grow_old(self, name: str, days: int) -> None:
        """As if it had been taken so many days ago."""
        file = self.backups.folder / "base" / name
        older = file.with_name(f"2026-01-{30 - days:02}T03-00-00Z")
        file.rename(older)
        then = older.stat().st_mtime - days * 86_400
        os.utime(older, (then, then))

    async def restore(self, base: str, moment: datetime) -> Mapping[str, str]:
        """Step 2 of the page: the settings that it left in `postgresql.auto.conf`."""
        shutil.copytree(self.backups.folder / "base" / base, self.postgres.data)
        (self.postgres.data / "recovery.signal").touch()
        settings = {name: self.backups.placed(value) for name, value in RESTORING.items()}
        settings["recovery_target_time"] = moment.isoformat()
        with (self.postgres.data / "postgresql.auto.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.backups.own_data()
        await asyncio.to_thread(self.postgres.start)

        async def promoted() -> bool:
            return not (await self.query("SELECT pg_is_in_recovery()"))[0][0]

        await eventually(promoted, within_seconds=60, what="the end of the recovery")
        return settings

    async def sold(self) -> list[int]:
        """What was written and is there."""
        return [row["n"] for row in await self.query("SELECT n FROM sold ORDER BY n")]

    async def query(self, *statements: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.postgres.dsn)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return list(await connection.fetch(statements[-1]))
        finally:
            await connection.close()


@pytest_asyncio.fixture
async def kept() -> AsyncIterator[Kept]:
    bindir = installed_bindir()
    if bindir is None or not (bindir / "pg_basebackup").exists():
        left_out("base backups: no PostgreSQL with pg_basebackup is installed")
    postgres = PostgresServer(bindir)
    postgres.start()
    made = Kept(postgres)
    try:
        postgres.stop()
        postgres.settings = made.backups.archiving()
        postgres.start()
        await made.query(
            "CREATE ROLE operations_app", "CREATE SCHEMA operations", "SET search_path = operations", BASE_BACKUPS, "SELECT 1"
        )  # fmt: skip
        yield made
    finally:
        postgres.remove()
        made.backups.remove()


@pytest.mark.servers
async def test_a_base_backup_is_taken_once_a_day_and_old_ones_go_with_the_log_that_they_alone_need(kept: Kept) -> None:
    for days in (3, 2, 1):
        assert (done := kept.base_backup(2)).returncode == 0, done.stderr
        (newest,) = [name for name in kept.bases() if not name.startswith("2026-01-")]
        kept.grow_old(newest, days)
        await kept.query(
            "CREATE TABLE IF NOT EXISTS sold (n int)", "INSERT INTO sold VALUES (1)", "SELECT pg_switch_wal()"
        )
    assert len(kept.bases()) == 2, "two are kept"
    (kept.backups.folder / "base" / "2026-01-31T00-00-00Z.part").mkdir()

    assert kept.base_backup(2).returncode == 0
    assert kept.base_backup(2).returncode == 0, "there is one of today"

    bases = kept.bases()
    assert (len(bases), bases[0]) == (2, "2026-01-29T03-00-00Z")
    label = (kept.backups.folder / "base" / bases[0] / "backup_label").read_text()
    first = label.partition("(file ")[2][:24]
    segments = sorted(
        path.name[:24] for path in kept.backups.segments.iterdir() if re.fullmatch(r"[0-9A-F]{24}\.gz", path.name)
    )
    assert segments[0] == first


@pytest.mark.servers
async def test_the_newest_base_backup_is_written_down_whenever_somebody_looks_for_it(kept: Kept) -> None:
    """Also one of before there was anything to write it into, and after a restore to a moment before it."""
    assert (done := kept.base_backup(2)).returncode == 0, done.stderr
    assert await kept.written_down() == kept.bases()
    assert kept.base_backup(2).returncode == 0
    assert await kept.written_down() == kept.bases(), "once"

    await kept.query("DELETE FROM operations.base_backups", "SELECT 1")
    assert kept.base_backup(2).returncode == 0
    assert await kept.written_down() == kept.bases()

    kept.grow_old(kept.bases()[0], 3)
    assert kept.base_backup(2).returncode == 0
    assert (await kept.written_down())[-1] == kept.bases()[-1]


@pytest.mark.servers
async def test_a_base_backup_that_cannot_be_written_down_is_kept_and_says_so(kept: Kept) -> None:
    await kept.query("DROP TABLE operations.base_backups", "SELECT 1")

    done = kept.base_backup(2)

    assert done.returncode != 0
    assert "operations.base_backups" in done.stderr
    (base,) = kept.bases()
    assert (kept.backups.folder / "base" / base / "backup_label").exists()


@pytest.mark.servers
async def test_one_that_did_not_end_is_not_written_down(kept: Kept) -> None:
    limited = ["bash", "-c", 'ulimit -f 64; exec "$0" "$@"']

    done = kept.base_backup(2, before=limited)

    assert done.returncode != 0
    assert await kept.written_down() == []


@pytest.mark.servers
async def test_the_database_comes_back_to_a_moment_from_what_the_scripts_kept(kept: Kept) -> None:
    """Step 2 of the page, with its settings in `postgresql.auto.conf` and taken out of it again."""
    await kept.query("CREATE TABLE sold (n int)", "INSERT INTO sold VALUES (1)", "SELECT 1")
    assert (done := kept.base_backup(2)).returncode == 0, done.stderr
    ((moment,),) = await kept.query("INSERT INTO sold VALUES (2)", "SELECT clock_timestamp()")
    await kept.query("INSERT INTO sold VALUES (3)", "SELECT 1")
    await kept.backups.catch_up()
    kept.backups.lose_server()
    (base,) = kept.bases()

    settings = await kept.restore(base, moment)

    assert await kept.sold() == [1, 2]
    for name in _reset_by_the_page():
        await kept.query(f"ALTER SYSTEM RESET {name}", "SELECT 1")
    left = (kept.postgres.data / "postgresql.auto.conf").read_text()
    assert not [name for name in settings if name in left]
    await asyncio.sleep(1)  # a base backup has the name of its second
    assert (done := kept.base_backup(2)).returncode == 0, done.stderr
    assert len(kept.bases()) == 2, "the one of before leads to what was given up"
    assert kept.base_backup(2).returncode == 0
    assert len(kept.bases()) == 2


@pytest.mark.servers
async def test_a_second_restore_to_a_later_moment_finds_what_was_written_between_the_two(kept: Kept) -> None:
    """It followed the timeline that the first one began, and ended where that had left the log."""
    await kept.query("CREATE TABLE sold (n int)", "INSERT INTO sold VALUES (1)", "SELECT 1")
    assert (done := kept.base_backup(2)).returncode == 0, done.stderr
    ((too_early,),) = await kept.query("INSERT INTO sold VALUES (2)", "SELECT clock_timestamp()")
    ((later,),) = await kept.query("INSERT INTO sold VALUES (3)", "SELECT clock_timestamp()")
    await kept.query("INSERT INTO sold VALUES (4)", "SELECT 1")
    await kept.backups.catch_up()
    kept.backups.lose_server()
    (base,) = kept.bases()
    await kept.restore(base, too_early)
    assert await kept.sold() == [1, 2]
    await kept.query("INSERT INTO sold VALUES (5)", "SELECT 1")
    await kept.backups.catch_up()
    kept.backups.lose_server()

    await kept.restore(base, later)

    assert await kept.sold() == [1, 2, 3]


def _reset_by_the_page() -> list[str]:
    names = re.findall(r"ALTER SYSTEM RESET ([a-z_]+)", PAGE)
    assert set(names) == {*RESTORING, "recovery_target_time"}
    return names


# -- what operations sees --------------------------------------------------------------------------------------------


async def _measured(kept: Kept) -> Mapping[str, float | None]:
    """What operations shows of this server."""
    pool = await open_pool(kept.postgres.dsn, schema="public", application_name="test")
    try:
        await Measuring(pool, ()).measure_database()
    finally:
        await pool.close()
    names = ("archiving", "archive_failures_total", "unarchived_seconds")
    return {name: REGISTRY.get_sample_value(f"payments_postgres_{name}") for name in names}


@pytest.mark.servers
async def test_operations_sees_that_the_log_is_archived_and_for_how_long_it_is_not(kept: Kept) -> None:
    async def archived() -> bool:
        return (await _measured(kept))["unarchived_seconds"] == 0

    await kept.query("CREATE TABLE sold (n int)", "SELECT pg_switch_wal()")
    await eventually(archived, within_seconds=30, what="the log to be archived")
    assert (await _measured(kept))["archiving"] == 1

    (kept.backups.folder / SCRIPT).unlink()
    await kept.query("INSERT INTO sold SELECT generate_series(1, 10000)", "SELECT pg_switch_wal()")

    async def failing() -> bool:
        seen = await _measured(kept)
        return (seen["archive_failures_total"] or 0) > 0 and (seen["unarchived_seconds"] or 0) > 1

    await eventually(failing, within_seconds=30, what="the failing archiver")
    shutil.copy(DEPLOYED / SCRIPT, kept.backups.folder)
    await eventually(archived, within_seconds=90, what="the log to be archived after all")


@pytest.mark.servers
async def test_where_nothing_is_archived_nothing_is_late(kept: Kept) -> None:
    kept.postgres.stop()
    kept.postgres.settings = {}
    kept.postgres.start()
    await kept.query("CREATE TABLE sold (n int)", "SELECT pg_switch_wal()")

    assert await _measured(kept) == {"archiving": 0, "archive_failures_total": 0, "unarchived_seconds": 0}


async def _age(kept: Kept) -> float:
    """For how many seconds, as operations shows it, there has been no other base backup."""
    pool = await open_pool(kept.postgres.dsn, schema="operations", application_name="test")
    try:
        await Measuring(pool, ()).measure_backups()
    finally:
        await pool.close()
    shown = REGISTRY.get_sample_value("payments_postgres_base_backup_seconds")
    assert shown is not None
    return shown


@pytest.mark.servers
async def test_operations_sees_how_old_the_newest_base_backup_is(kept: Kept) -> None:
    assert await _age(kept) == math.inf

    assert (done := kept.base_backup(2)).returncode == 0, done.stderr
    assert 0 <= await _age(kept) < 120

    await kept.query("UPDATE operations.base_backups SET taken_at = taken_at - interval '3 days'", "SELECT 1")
    assert 3 * 86_400 <= await _age(kept) < 3 * 86_400 + 120
