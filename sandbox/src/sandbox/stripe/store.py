"""Everything the simulator knows, in memory and in SQLite: it survives a kill, as Stripe would."""

import json
import secrets
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]  # Any: Stripe objects


def new_id(prefix: str, length: int = 24) -> str:
    """An id in Stripe's style."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return prefix + "_" + "".join(secrets.choice(alphabet) for _ in range(length))


@dataclass(slots=True)
class Store:
    """Objects by id, in the order of their making. `ahead` is how far the simulated clock runs before the real one."""

    path: Path
    objects: dict[str, Json] = field(default_factory=dict)
    kinds: dict[str, list[str]] = field(default_factory=dict)
    kind_of: dict[str, str] = field(default_factory=dict)
    ahead: float = 0.0
    _db: sqlite3.Connection = field(init=False)
    _dirty: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self.path, isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            "CREATE TABLE IF NOT EXISTS objects (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, kind TEXT, body TEXT);"
            "CREATE TABLE IF NOT EXISTS keys (scope TEXT PRIMARY KEY, fingerprint TEXT, status INT, body TEXT, at REAL);"
            "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);"
        )
        for object_id, kind, body in self._db.execute("SELECT id, kind, body FROM objects ORDER BY seq"):
            self.objects[object_id] = json.loads(body)
            self.kinds.setdefault(kind, []).append(object_id)
            self.kind_of[object_id] = kind
        row = self._db.execute("SELECT value FROM facts WHERE name = 'ahead'").fetchone()
        self.ahead = float(row[0]) if row else 0.0

    def now(self) -> int:
        """Whole seconds of the simulated clock."""
        return int(time.time() + self.ahead)

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.ahead += seconds
        self._db.execute("INSERT OR REPLACE INTO facts VALUES ('ahead', ?)", (str(self.ahead),))

    def put(self, kind: str, value: Json) -> Json:
        """Keep an object, new or changed; `commit` makes it durable."""
        object_id = value["id"]
        if object_id not in self.objects:
            self.kinds.setdefault(kind, []).append(object_id)
            self.kind_of[object_id] = kind
        self.objects[object_id] = value
        self._dirty[object_id] = {"kind": kind, "value": value}
        return value

    def find(self, kind: str, object_id: str) -> Json | None:
        """An object of a kind."""
        return self.objects[object_id] if self.kind_of.get(object_id) == kind else None

    def all(self, kind: str) -> list[Json]:
        """All objects of a kind, oldest first."""
        return [self.objects[object_id] for object_id in self.kinds.get(kind, [])]

    def commit(self) -> None:
        """Make all changes since the last commit durable, in one transaction."""
        if not self._dirty:
            return
        rows = [(oid, entry["kind"], json.dumps(entry["value"])) for oid, entry in self._dirty.items()]
        self._dirty.clear()
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO objects (id, kind, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            rows,
        )
        self._db.execute("COMMIT")

    # -- idempotency keys --------------------------------------------------------------------------------------------

    def saved_answer(self, scope: str) -> tuple[str, int, str] | None:
        """(fingerprint, status, body) kept under a key for 24 hours of the simulated clock."""
        row = self._db.execute("SELECT fingerprint, status, body, at FROM keys WHERE scope = ?", (scope,)).fetchone()
        if row is None or row[3] < self.now() - 86_400:
            return None
        return row[0], row[1], row[2]

    def save_answer(self, scope: str, fingerprint: str, status: int, body: str) -> None:
        """Keep an answer under its key."""
        self._db.execute(
            "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)",
            (scope, fingerprint, status, body, self.now()),
        )
