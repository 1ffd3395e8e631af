"""SQL lives in `<package>/sql/queries.sql`, each statement under a `-- name:` line."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Final

_HEADER: Final = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)[ \t]*$", re.MULTILINE)


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
    """Split `text` at its `-- name:` lines.

    Raises:
        ValueError: a name is given twice, a statement is empty, or SQL stands before the first name.
    """
    headers = list(_HEADER.finditer(text))
    preamble = text[: headers[0].start()] if headers else text
    if any(line.strip() and not line.startswith("--") for line in preamble.splitlines()):
        raise ValueError("a statement stands before the first `-- name:` line")
    statements: dict[str, str] = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        name = header["name"]
        body = text[header.end() : following.start() if following else len(text)].strip().rstrip(";")
        if name in statements:
            raise ValueError(f"query {name} is written twice")
        if not any(line.strip() and not line.startswith("--") for line in body.splitlines()):
            raise ValueError(f"query {name} is empty")
        statements[name] = f"-- {name}\n{body}"
    return Queries(statements)


@cache
def load_queries(package: str) -> Queries:
    """The queries of `package`, read once per process."""
    source = resources.files(package).joinpath("sql/queries.sql")
    return parse_queries(source.read_text(encoding="utf-8"))
