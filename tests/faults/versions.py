"""Versions of fulfillment that do not exist yet: copies of its code with a further column, and what it needs."""

import asyncio
import shutil
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from sandbox.services.children import clean_environment

PACKAGE: Final = "fulfillment"
EXPAND: Final = "ALTER TABLE shipments ADD COLUMN packed_by text;\n"
FILL: Final = "UPDATE shipments SET packed_by = 'nobody knows' WHERE packed_by IS NULL;\n"
# Demanded of new rows first, and then of those that are there: neither stops who writes for longer than a moment.
DEMAND: Final = "ALTER TABLE shipments ADD CONSTRAINT shipments_packed CHECK (packed_by IS NOT NULL) NOT VALID;\n"
VALIDATE: Final = "ALTER TABLE shipments VALIDATE CONSTRAINT shipments_packed;\n"
_MIGRATE: Final = (
    "import asyncio, sys; from payments_shared.provision import migrate_database; "
    "asyncio.run(migrate_database(sys.argv[1], with_sandbox=True))"
)


@dataclass(frozen=True, slots=True)
class Version:
    """A copy of the package in `folder`, which comes before ours where `PYTHONPATH` names it."""

    folder: Path

    @classmethod
    def copied(cls, folder: Path) -> "Version":
        """A copy of the code that is here."""
        with resources.as_file(resources.files(PACKAGE)) as ours:
            shutil.copytree(ours, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(folder)

    def next(self, folder: Path) -> "Version":
        """A copy of this version."""
        shutil.copytree(self.folder / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        return Version(folder)

    def with_migration(self, name: str, sql: str) -> "Version":
        """The same with one more migration, which comes last."""
        migrations = self.folder / PACKAGE / "sql/migrations"
        newest = max(int(path.name[:4]) for path in migrations.glob("*.sql"))
        (migrations / f"{newest + 1:04}_{name}.sql").write_text(sql, encoding="utf-8")
        return self

    def that_names_packers(self) -> "Version":
        """The same, writing the new column of each shipment that it makes."""
        path = self.folder / PACKAGE / "sql/queries.sql"
        text = path.read_text(encoding="utf-8")
        before = (
            "INSERT INTO shipments (id, order_id, state, lines, carrier, tracking_number, version)\n"
            "SELECT id, order_id, state, lines::jsonb, carrier, tracking_number, version\n"
        )
        assert text.count(before) == 1
        after = before.replace("version)\n", "version, packed_by)\n").replace("version\n", "version, 'the new one'\n")
        path.write_text(text.replace(before, after), encoding="utf-8")
        return self

    async def migrate(self, owner_url: str) -> None:
        """What provisioning with this version does to the database."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _MIGRATE,
            owner_url,
            env=clean_environment(PYTHONPATH=str(self.folder)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
