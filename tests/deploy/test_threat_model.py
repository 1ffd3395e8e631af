"""Each threat of docs/threat-model.md has an id of its own, a kind, and a test that exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from tests.deploy.composed import ROOT

TEXT: Final = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
BOUNDARIES: Final = re.findall(r"^## ([A-Z]{4}): ", TEXT, re.MULTILINE)
ROW: Final = re.compile(
    r"^\| (?P<boundary>[A-Z]{4})-(?P<number>\d+) \| (?P<kind>[STRIDE]) \| (?P<threat>[^|]+) \| (?P<held>[^|]+) \| "
    r"(?P<tests>[^|]+) \|$",
    re.MULTILINE,
)
ROWS: Final = tuple(ROW.finditer(TEXT))


@cache
def _tests_in(file: str) -> frozenset[str]:
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def _missing(cell: str) -> Iterator[str]:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", cell)
    if not named:
        yield "no test"
    yield from (f"{file}::{name}" for file, name in named if name not in _tests_in(file))


def test_every_row_is_read() -> None:
    written = re.findall(r"^\| ([A-Z]{4}-\d+) \|", TEXT, re.MULTILINE)

    assert [f"{row['boundary']}-{row['number']}" for row in ROWS] == written
    assert len(ROWS) >= 60


def test_ids_are_numbered_by_boundary_and_each_boundary_has_every_kind() -> None:
    for boundary in BOUNDARIES:
        rows = [row for row in ROWS if row["boundary"] == boundary]
        assert sorted(int(row["number"]) for row in rows) == list(range(1, len(rows) + 1))
        assert {row["kind"] for row in rows} == set("STRIDE"), boundary
    assert {row["boundary"] for row in ROWS} == set(BOUNDARIES)
    assert set(re.findall(r"\|([A-Z]{4})\|", TEXT)) == set(BOUNDARIES), "the picture shows them"


def test_every_threat_names_a_test_that_exists() -> None:
    missing = {f"{row['boundary']}-{row['number']}": list(_missing(row["tests"])) for row in ROWS}

    assert {threat: tests for threat, tests in missing.items() if tests} == {}
    assert list(_missing("`tests/deploy/test_threat_model.py::test_of_nothing`"))
    assert list(_missing("`tests/nowhere.py::test_every_row_is_read`"))
    assert list(_missing("nothing"))


def test_security_md_leads_here_and_says_what_it_must() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

    assert re.findall(r"^## (.+)$", page, re.MULTILINE)[:3] == ["Reporting", "Supported versions", "Scope"]
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / link).exists(), link
    assert "docs/threat-model.md" in page
