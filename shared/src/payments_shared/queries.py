"""SQL lives in `<package>/sql/queries.sql`, each statement under a `-- name:` line.

What several statements have alike stands once, under a `-- part:` line, and each of them says `{its_name}`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Final

_HEADER: Final = re.compile(r"^-- (?P<kind>name|part): (?P<name>[a-z][a-z0-9_]*)[ \t]*$", re.MULTILINE)
_PART: Final = re.compile(r"(?<!')\{(?P<name>[a-z][a-z0-9_]*)\}")  # '{name}' is a literal: an array of one


class Queries(Mapping[str, str]):
    """The named statements of one file, comments included, so that a slow query log shows them."""

    def __init__(self, statements: Mapping[str, str]) -> None:
        self._statements = dict(statements)

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


def parse_queries(text: str) -> Queries:
    """Split `text` at its `-- name:` and `-- part:` lines. A part stands before the statements that name it.

    Raises:
        ValueError: a name is given twice, a statement is empty, names a part that there is not, or stands before the
            first name.
    """
    headers = list(_HEADER.finditer(text))
    preamble = text[: headers[0].start()] if headers else text
    if any(line.strip() and not line.startswith("--") for line in preamble.splitlines()):
        raise ValueError("a statement stands before the first `-- name:` line")
    statements: dict[str, str] = {}
    parts: dict[str, str] = {}

    def part_of(named: re.Match[str]) -> str:
        if named["name"] not in parts:
            raise ValueError(f"there is no part {named['name']}")
        return parts[named["name"]]

    for header, following in zip(headers, [*headers[1:], None], strict=True):
        name = header["name"]
        body = text[header.end() : following.start() if following else len(text)].strip().rstrip(";")
        if name in statements or name in parts:
            raise ValueError(f"query {name} is written twice")
        if not any(line.strip() and not line.startswith("--") for line in body.splitlines()):
            raise ValueError(f"query {name} is empty")
        if header["kind"] == "part":
            parts[name] = body
        else:
            statements[name] = f"-- {name}\n{_PART.sub(part_of, body)}"
    return Queries(statements)


@cache
def load_queries(package: str) -> Queries:
    """The queries of `package`, read once per process."""
    source = resources.files(package).joinpath("sql/queries.sql")
    return parse_queries(source.read_text(encoding="utf-8"))
