"""Everything the simulator knows, in memory and in SQLite: it survives a kill, as Stripe would."""

import json
import secrets
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]  # Any: Stripe objects
KEY_SECONDS: Final = 86_400

_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS objects (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, kind TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS keys (scope TEXT PRIMARY KEY, fingerprint TEXT, status INT, body TEXT, at REAL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
"""
_PUT: Final = (
    "INSERT INTO objects (id, kind, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body"
)
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def new_id(prefix: str, length: int = 24) -> str:
    """An id in Stripe's style."""
    return prefix + "_" + "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(slots=True)
class Store:
    """Objects by id, in the order of their making. `ahead` is how far the simulated clock runs before the real one."""

    path: Path
    objects: dict[str, Json] = field(default_factory=dict)
    kinds: dict[str, dict[str, None]] = field(default_factory=dict)
    kind_of: dict[str, str] = field(default_factory=dict)
    ahead: float = 0.0
    _db: sqlite3.Connection = field(init=False)
    _dirty: dict[str, str] = field(default_factory=dict)
    _removed: set[str] = field(default_factory=set)
    _answers: dict[str, tuple[str, int, str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self.path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        for object_id, kind, body in self._db.execute("SELECT id, kind, body FROM objects ORDER BY seq"):
            self._remember(kind, object_id, json.loads(body))
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
        self._remember(kind, value["id"], value)
        self._dirty[value["id"]] = kind
        return value

    def remove(self, kind: str, object_id: str) -> Json:
        """Forget an object; `commit` makes it durable."""
        del self.kinds[kind][object_id]
        del self.kind_of[object_id]
        self._dirty.pop(object_id, None)
        self._removed.add(object_id)
        return self.objects.pop(object_id)

    def find(self, kind: str, object_id: str) -> Json | None:
        """An object of a kind."""
        return self.objects[object_id] if self.kind_of.get(object_id) == kind else None

    def all(self, kind: str) -> list[Json]:
        """All objects of a kind, oldest first."""
        return [self.objects[object_id] for object_id in self.kinds.get(kind, ())]

    def commit(self) -> None:
        """Make all changes and answers since the last commit durable, in one transaction."""
        if not (self._dirty or self._removed or self._answers):
            return
        rows = [(object_id, kind, json.dumps(self.objects[object_id])) for object_id, kind in self._dirty.items()]
        answers = [(scope, *answer) for scope, answer in self._answers.items()]
        self._db.execute("BEGIN")
        self._db.executemany(_PUT, rows)
        self._db.executemany("DELETE FROM objects WHERE id = ?", [(object_id,) for object_id in self._removed])
        self._db.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)", answers)
        self._db.execute("COMMIT")
        self._dirty.clear()
        self._removed.clear()
        self._answers.clear()

    def close(self) -> None:
        """Write what is left and close the file."""
        self.commit()
        self._db.close()

    def _remember(self, kind: str, object_id: str, value: Json) -> None:
        if object_id not in self.objects:
            self.kinds.setdefault(kind, {})[object_id] = None
            self.kind_of[object_id] = kind
        self.objects[object_id] = value

    # -- idempotency keys --------------------------------------------------------------------------------------------

    def saved_answer(self, scope: str) -> tuple[str, int, str] | None:
        """(fingerprint, status, body) kept under a key for 24 hours of the simulated clock."""
        row = self._db.execute("SELECT fingerprint, status, body, at FROM keys WHERE scope = ?", (scope,)).fetchone()
        if row is None or row[3] < self.now() - KEY_SECONDS:
            return None
        return row[0], row[1], row[2]

    def save_answer(self, scope: str, fingerprint: str, status: int, body: str) -> None:
        """Keep an answer under its key, in the same transaction as what the request changed."""
        self._answers[scope] = (fingerprint, status, body, self.now())
