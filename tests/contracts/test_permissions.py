"""The page of permissions is current, and reads the migrations as they are meant."""

from pathlib import Path

import pytest

from payments_shared import permissions
from payments_shared.migrations import Migration, parse_migration
from payments_shared.permissions import Exceptions, exceptions_of, page

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make contracts"


def test_the_last_word_about_a_table_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words about other roles, schemas, functions and sequences are about something else."""
    texts = {
        "0001_create_a.sql": "GRANT DELETE ON a, b TO checkout_app;\nREVOKE UPDATE ON a, c FROM checkout_app;",
        "0002_change_b.sql": "REVOKE UPDATE, DELETE ON b FROM checkout_app;\nGRANT UPDATE ON c TO checkout_app;",
        "0003_grant_others.sql": "GRANT SELECT ON ALL TABLES IN SCHEMA checkout TO checkout_app;\n"
        "GRANT USAGE ON SCHEMA checkout TO checkout_app;\nGRANT DELETE ON d TO auditor_app;\n"
        "REVOKE INSERT, UPDATE ON f FROM checkout_app;\n"
        "-- GRANT DELETE ON e TO checkout_app;",
    }

    def loaded(_: str) -> tuple[Migration, ...]:
        return tuple(parse_migration(name, text) for name, text in texts.items())

    monkeypatch.setattr(permissions, "load_migrations", loaded)

    assert exceptions_of("checkout") == Exceptions(frozenset({"f"}), frozenset({"a", "b", "f"}), frozenset({"a"}))
