"""Mails in SQLite: a restart keeps them."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any, Final

Headers = Callable[[str], str | None]
COLUMNS: Final = ("id", "at", "message_id", "recipient", "sender", "subject", "order_id", "kind", "ref")


def headers_of(raw: bytes) -> Headers:
    """What a mail says in each of its headers, None where it has none of that name."""
    message = BytesParser(policy=policy.default).parsebytes(raw, headersonly=True)
    return lambda name: str(message[name]) if message[name] else None


@dataclass(slots=True)
class MailStore:
    """Written by the SMTP thread, read by the web one; a lock keeps them apart."""

    path: Path
    _db: sqlite3.Connection = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._db.executescript(
            "PRAGMA journal_mode=WAL;"
            "CREATE TABLE IF NOT EXISTS mails (id INTEGER PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP,"
            " message_id TEXT, recipient TEXT, sender TEXT, subject TEXT, order_id TEXT, kind TEXT, ref TEXT, raw BLOB)"
        )

    def add(self, raw: bytes, header: Headers, sender: str, recipients: list[str]) -> None:
        """Keep one mail for each recipient."""
        with self._lock:
            for recipient in recipients:
                self._db.execute(
                    "INSERT INTO mails (message_id, recipient, sender, subject, order_id, kind, ref, raw)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        header("Message-ID"), recipient, sender, header("Subject"), header("X-Payments-Order"),
                        header("X-Payments-Kind"), header("X-Payments-Ref"), raw,
                    ),
                )  # fmt: skip

    def find(self, **wanted: str) -> list[dict[str, Any]]:  # Any: column values
        """Mails, newest first; `wanted` compares columns."""
        conditions = [name for name in wanted if name in COLUMNS]
        where = " AND ".join(f"{name} = ?" for name in conditions) or "1"
        statement = f"SELECT {', '.join(COLUMNS)} FROM mails WHERE {where} ORDER BY id DESC"  # noqa: S608 - fixed names
        with self._lock:
            rows = self._db.execute(statement, [wanted[name] for name in conditions]).fetchall()
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def raw(self, mail_id: int) -> bytes | None:
        """One mail, byte for byte."""
        with self._lock:
            row = self._db.execute("SELECT raw FROM mails WHERE id = ?", (mail_id,)).fetchone()
        return row[0] if row else None

    def message(self, mail_id: int) -> EmailMessage | None:
        """One mail, parsed."""
        raw = self.raw(mail_id)
        return BytesParser(policy=policy.default).parsebytes(raw) if raw is not None else None

    def clear(self) -> None:
        """Forget all mails."""
        with self._lock:
            self._db.execute("DELETE FROM mails")
