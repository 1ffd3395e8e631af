"""The command line itself, and what its commands share: options, one call to an admin port, and ways to print."""

import http.client
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(no_args_is_help=True, help="Operate the payments platform.", pretty_exceptions_enable=False)

Url = Annotated[str, typer.Option(envvar="PAYMENTS_OPERATIONS_URL", help="Internal URL of operations.")]
TokenFile = Annotated[Path, typer.Option(envvar="PAYMENTS_TOKEN_FILE", help="File with your bearer token.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Json = dict[str, Any]  # Any: JSON


class Away(Exception):
    """Nobody answers at the admin port, or not at this moment."""


def call(url: str, token_file: Path, method: str, path: str, body: object | None = None) -> Json:
    """What the admin port at `url` answers. A refusal ends the program with status 1, silence with 2."""
    try:
        return ask(url, token_file, method, path, body)
    except Away as error:
        fail(str(error), 2)


def ask(url: str, token_file: Path, method: str, path: str, body: object | None = None) -> Json:
    """As `call`, for those who ask again.

    Raises:
        Away: no answer, or 503.
    """
    request = urllib.request.Request(  # noqa: S310 - the operator names the URL
        url.rstrip("/") + path, method=method, data=None if body is None else json.dumps(body).encode()
    )
    request.add_header("Authorization", f"Bearer {_token(token_file)}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - see above
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        if error.code == 503:
            raise Away(_said(error)) from error
        fail(_said(error), 1)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise Away(f"{url} cannot be reached: {error}") from error


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        fail(f"the token cannot be read: {error}", 2)


def _said(error: urllib.error.HTTPError) -> str:
    """A problem in words, with a line for each field."""
    try:
        problem = json.load(error)
        fields = "".join(f"\n  {field['pointer']}: {field['detail']}" for field in problem.get("errors", ()))
        return f"{problem['code']}: {problem['detail']}{fields}"
    except (ValueError, TypeError, KeyError):
        return f"HTTP {error.code}"


def fail(text: str, code: int) -> NoReturn:
    """Say `text` on stderr and end the program."""
    sys.stderr.write(text + "\n")
    raise typer.Exit(code)


def show_json(value: object) -> None:
    """Print JSON for other programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def table(title: str, columns: dict[str, str], rows: list[Json]) -> None:
    """Print `rows` under the labels of `columns`, or that there are none."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left", show_edge=False)
    for label in columns.values():
        grid.add_column(label, overflow="fold")
    for row in rows:
        grid.add_row(*(str(row.get(name) if row.get(name) is not None else "") for name in columns))
    Console().print(grid if rows else f"{title}: none")
