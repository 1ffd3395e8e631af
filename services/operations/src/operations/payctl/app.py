"""The command line itself, and what its commands share: options, one call to an admin port, and ways to print."""

import getpass
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, NoReturn

import typer

app = typer.Typer(no_args_is_help=True, help="Operate the payments platform.", pretty_exceptions_enable=False)

Url = Annotated[str, typer.Option(envvar="PAYMENTS_OPERATIONS_URL", help="Internal URL of operations.")]
CheckoutUrl = Annotated[str, typer.Option(envvar="PAYMENTS_CHECKOUT_URL", help="Internal URL of checkout.")]
RefundsUrl = Annotated[str, typer.Option(envvar="PAYMENTS_REFUNDS_URL", help="Internal URL of refunds.")]
FrontDoorUrl = Annotated[str, typer.Option(envvar="PAYMENTS_PUBLIC_URL", help="URL of the front door.")]
TokenFile = Annotated[Path, typer.Option(envvar="PAYMENTS_TOKEN_FILE", help="File with your bearer token.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Json = dict[str, Any]  # Any: JSON
PIPED_WIDTH: Final = 200
TIMEOUT_SECONDS: Final = 30.0
SERVICES_VARIABLE: Final = "PAYMENTS_SERVICE_URLS"
OF_SERVICE: Final[Mapping[str, str]] = {
    "PAYMENTS_OPERATIONS_URL": "operations",
    "PAYMENTS_CHECKOUT_URL": "checkout",
    "PAYMENTS_REFUNDS_URL": "refunds",
    "PAYMENTS_NOTIFICATIONS_URL": "notifications",
    "PAYMENTS_WEBHOOK_INGEST_URL": "webhook-ingest",
}
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Refused(Exception):
    """The admin port answers that it will not."""


class Away(Exception):
    """Nobody answers at the admin port, or not at this moment."""


def by_service(urls: str) -> dict[str, str]:
    """The addresses in `checkout=http://...,refunds=http://...`, by service."""
    pairs = (part.strip().partition("=") for part in urls.split(","))
    return {name: url.rstrip("/") for name, _, url in pairs if url}


def completed(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables with those of single services out of `PAYMENTS_SERVICE_URLS`, unless they are said themselves. Behind
    the front door payctl asks refunds alone: where no door is said, its first port will do, which operations knows."""
    known = by_service(environment.get(SERVICES_VARIABLE, ""))
    found = {variable: known[service] for variable, service in OF_SERVICE.items() if service in known}
    if staff := environment.get("PAYMENTS_STAFF_URL"):
        found["PAYMENTS_PUBLIC_URL"] = staff
    return {**found, **environment}


def call(
    url: str,
    token_file: Path,
    method: str,
    path: str,
    body: object | None = None,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Json:
    """What the port at `url` answers. A refusal ends the program with status 1, silence with 2."""
    try:
        return ask(url, token_file, method, path, body, timeout_seconds=timeout_seconds, headers=headers)
    except Refused as error:
        fail(str(error), 1)
    except Away as error:
        fail(str(error), 2)


def download(url: str, token_file: Path, path: str) -> bytes:
    """The file that the port at `url` answers; else as `call`."""
    try:
        return _answer(_request(url, token_file, "GET", path), url, TIMEOUT_SECONDS)
    except Refused as error:
        fail(str(error), 1)
    except Away as error:
        fail(str(error), 2)


def ask(
    url: str,
    token_file: Path,
    method: str,
    path: str,
    body: object | None = None,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Json:
    """As `call`, for those who ask again, or can do without the answer.

    Raises:
        Refused: a refusal.
        Away: no answer, or 503.
    """
    raw = _answer(_request(url, token_file, method, path, body=body, headers=headers), url, timeout_seconds)
    try:
        return dict(json.loads(raw))
    except ValueError as error:
        raise Away(f"{url} cannot be reached: {error}") from error


def _request(
    url: str,
    token_file: Path,
    method: str,
    path: str,
    *,
    body: object | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> urllib.request.Request:
    request = urllib.request.Request(  # noqa: S310 - the operator names the URL
        url.rstrip("/") + path, method=method, data=None if body is None else json.dumps(body).encode()
    )
    request.add_header("Authorization", f"Bearer {_token(token_file)}")
    request.add_header("Content-Type", "application/json")
    for name, value in headers.items():
        request.add_header(name, value)
    return request


def _answer(request: urllib.request.Request, url: str, timeout_seconds: float) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310 - the operator names it
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        if error.code == 503:
            raise Away(_said(error)) from error
        raise Refused(_said(error)) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
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


def actor() -> str:
    """Who types, for commands that take no token; by his number where that has no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"uid:{os.getuid()}"


def fail(text: str, code: int) -> NoReturn:
    """Say `text` on stderr and end the program."""
    sys.stderr.write(text + "\n")
    raise typer.Exit(code)


def show_json(value: object) -> None:
    """Print JSON for other programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def table(title: str, columns: dict[str, str], rows: list[Json]) -> None:
    """Print `rows` under the labels of `columns`, or that there are none. What one would copy is on one line."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left", show_edge=False)
    for name, label in columns.items():
        widest = max((len(str(row.get(name) or "")) for row in rows), default=0)
        grid.add_column(label, overflow="fold", min_width=widest if name in ("id", "fingerprint") else None)
    for row in rows:
        grid.add_row(*(_cell(row.get(name)) for name in columns))
    console = Console(markup=False, emoji=False, highlight=False)  # an exception's text is text
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    console.print(grid if rows else f"{title}: none")


def plain(text: str) -> str:
    """What somebody sent, without what would steer the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)


def _cell(value: object) -> str:
    """A moment without its fraction; what is absent is empty."""
    text = "" if value is None else plain(str(value))
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?\+00:00$", r"\1 \2 UTC", text)
