"""`payctl catalog`: what the shop sells."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from operations.payctl.app import AsJson, CheckoutUrl, Json, TokenFile, call, fail, show_json, table

if TYPE_CHECKING:
    from collections.abc import Callable

catalog = typer.Typer(no_args_is_help=True, help="Products and their prices.")

ROWS_AT_ONCE: Final = 200
BYTES_AT_ONCE: Final = 32 * 1024  # half of what the admin port takes
SHOWN_MAX: Final = 200
FILE_MAX: Final = 2**31 - 1
APPLY_SECONDS: Final = 300.0  # more than checkout takes for the largest file
STANDARD_INPUT: Final = Path("-")


@catalog.callback()
def products() -> None:
    """Products and their prices."""


@catalog.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV file in UTF-8, or - for standard input.")],
    url: CheckoutUrl,
    token_file: TokenFile,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create and change products from a file: sku, name, price_usd, price_eur and so on, and if you like description,
    image, active (yes or no), tax_code, digital (yes: it is not sent) and parts (MUG:2;BOX:1: it is a bundle of these).

    Prices are in major units: 12.50. A product gets exactly the prices of its row; products that the file does not name
    stay as they are. When any row is wrong, all that is wrong is listed and nothing is imported. Exit status 1 then, 2
    when the file cannot be read or checkout does not answer.
    """
    columns, rows, faults = _read(file)
    count = len(rows) + len(faults)
    begun = call(url, token_file, "POST", "/admin/catalog/imports", {"file": file.name[-200:], "columns": columns})
    path = f"/admin/catalog/imports/{begun['id']}"
    with _progress(len(rows), shown=not as_json and sys.stderr.isatty()) as advance:
        for piece in _pieces(rows):
            faults += call(url, token_file, "PUT", f"{path}/rows", {"rows": piece})["faults"]
            advance(len(piece))
    if not faults and "parts" in columns:  # in a row that cannot be read stands perhaps what another one names
        faults += call(url, token_file, "GET", f"{path}/faults", timeout_seconds=APPLY_SECONDS)["faults"]
    if faults:
        call(url, token_file, "DELETE", path)
        _show_faults(sorted(faults, key=lambda fault: int(fault["row"])), count, as_json=as_json)
        raise typer.Exit(1)
    wish = {"rows": len(rows), "dry_run": dry_run}
    counts = call(url, token_file, "POST", f"{path}/apply", wish, timeout_seconds=APPLY_SECONDS)
    if dry_run:
        call(url, token_file, "DELETE", path)
    if as_json:
        show_json({"rows": len(rows), "faults": [], **counts})
        return
    would = "Would be " if dry_run else ""
    labels = {"created": f"{would}created", "changed": f"{would}changed", "unchanged": "Unchanged"}
    table(f"{file.name}: {len(rows)} products", {name: text.capitalize() for name, text in labels.items()}, [counts])


def _read(file: Path) -> tuple[list[str], list[Json], list[Json]]:
    """The first row; the others, each with its number; and what is wrong with those that cannot be sent, one fault a
    row. Empty lines are skipped."""
    csv.field_size_limit(FILE_MAX)  # a cell that is far too long is a fault like others
    try:
        text = (sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()).decode("utf-8-sig")
        head, *others = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fail(f"{file} cannot be read: {error}", 2)
    columns = [name.strip() for name in head]
    if not columns:
        fail(f"{file} names no columns in its first row", 1)
    rows: list[Json] = []
    faults: list[Json] = []
    for position, cells in enumerate(others, start=2):
        if any(cell.strip() for cell in cells):
            row = {"row": position, "cells": dict(zip(columns, cells, strict=False))}
            if (fault := _fault_of(columns, cells, len(json.dumps(row)))) is not None:
                faults.append({"row": position, **fault})
            else:
                rows.append(row)
    if not (rows or faults):
        fail(f"{file} holds no products", 1)
    return columns, rows, faults


def _fault_of(columns: list[str], cells: list[str], size: int) -> Json | None:
    """Why a row of `size` bytes cannot be sent; checkout says what else is wrong with those that can."""
    if len(cells) < len(columns):
        detail = f"The row ends before this cell: it has {len(cells)} cells, and the first row {len(columns)}."
        return {"column": columns[len(cells)], "detail": detail}
    if len(cells) > len(columns):
        detail = f"Cells follow after this one: the row has {len(cells)} cells, and the first row {len(columns)}."
        return {"column": columns[-1], "detail": detail}
    if size > BYTES_AT_ONCE:
        longest = max(zip(columns, cells, strict=True), key=lambda named: len(named[1]))
        return {"column": longest[0], "detail": f"The row has {size} bytes; no product has more than {BYTES_AT_ONCE}."}
    return None


def _pieces(rows: list[Json]) -> Iterator[list[Json]]:
    """Rows in their order, as many at a time as one request takes."""
    piece: list[Json] = []
    size = 0
    for row in rows:
        more = len(json.dumps(row))
        if piece and (len(piece) == ROWS_AT_ONCE or size + more > BYTES_AT_ONCE):
            yield piece
            piece, size = [], 0
        piece.append(row)
        size += more
    if piece:
        yield piece


def _show_faults(faults: list[Json], rows: int, *, as_json: bool) -> None:
    wrong = len({fault["row"] for fault in faults})
    if as_json:
        show_json({"rows": rows, "faults": faults, "created": 0, "changed": 0, "unchanged": 0})
    else:
        columns = {"row": "Row", "column": "Column", "detail": "What is wrong"}
        table(f"{wrong} of {rows} rows are wrong", columns, faults[:SHOWN_MAX])
        if len(faults) > SHOWN_MAX:
            sys.stdout.write(f"and {len(faults) - SHOWN_MAX} more; --json lists them all\n")
    sys.stderr.write("nothing was imported\n")


@contextmanager
def _progress(total: int, *, shown: bool) -> "Iterator[Callable[[int], None]]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task("Rows", total=total)
        yield lambda count: progress.update(task, advance=count)
