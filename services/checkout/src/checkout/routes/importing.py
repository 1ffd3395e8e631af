"""Catalogue files from people, on the internal port."""

from dataclasses import asdict, dataclass
from typing import Annotated, Final
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from checkout.handlers.importing import Imports
from payments_shared.auth import Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import read_json
from payments_shared.postgres import unavailable_as_retryable

ROWS_AT_ONCE: Final = 200
ROWS_MAX: Final = 200_000


class BeginRequest(BaseModel):
    """`POST /admin/catalog/imports`: the file's name and its first row."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[str, Field(min_length=1, max_length=200)]
    columns: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=200)]


class Row(BaseModel):
    """One row: its number in the file, and its cells by column."""

    model_config = ConfigDict(extra="forbid")

    row: Annotated[StrictInt, Field(ge=2, le=ROWS_MAX + 1)]
    cells: dict[str, Annotated[str, Field(max_length=4000)]]


class RowsRequest(BaseModel):
    """`PUT /admin/catalog/imports/{id}/rows`: a piece of the file."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[list[Row], Field(min_length=1, max_length=ROWS_AT_ONCE)]


class ApplyRequest(BaseModel):
    """`POST /admin/catalog/imports/{id}/apply`: how many rows the file has."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[StrictInt, Field(ge=1, le=ROWS_MAX)]
    dry_run: StrictBool = False


@dataclass(frozen=True, slots=True)
class Door:
    """Import routes, for the role admin."""

    imports: Imports
    people: Verifier

    async def begin(self, request: web.Request) -> web.Response:
        """201 with the import's id."""
        person = require(request, self.people, "admin")
        body = await read_json(request, BeginRequest)
        with unavailable_as_retryable():
            import_id = await self.imports.begin(person.subject, body.file, body.columns)
        return web.json_response({"id": str(import_id)}, status=201)

    async def add(self, request: web.Request) -> web.Response:
        """What is wrong with the rows of a piece; nothing when it is empty."""
        require(request, self.people, "admin")
        body = await read_json(request, RowsRequest)
        rows = {row.row: row.cells for row in body.rows}
        with unavailable_as_retryable():
            faults = await self.imports.add(_import_id(request), rows)
        told = [{"row": fault.position, "column": fault.column, "detail": fault.detail} for fault in faults]
        return web.json_response({"rows": len(rows), "faults": told})

    async def apply(self, request: web.Request) -> web.Response:
        """How many products were created, changed and left as they were."""
        person = require(request, self.people, "admin")
        body = await read_json(request, ApplyRequest)
        with unavailable_as_retryable():
            counts = await self.imports.apply(
                _import_id(request), person.subject, rows=body.rows, keep=not body.dry_run
            )
        return web.json_response({**asdict(counts), "dry_run": body.dry_run})

    async def discard(self, request: web.Request) -> web.Response:
        """End an import without effect."""
        require(request, self.people, "admin")
        with unavailable_as_retryable():
            await self.imports.discard(_import_id(request))
        return web.json_response({"discarded": True})


def _import_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["import_id"])
    except ValueError:
        raise Refused("not_found", "There is no such import.", status=404) from None


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        web.post("/admin/catalog/imports", door.begin),
        web.put("/admin/catalog/imports/{import_id}/rows", door.add),
        web.post("/admin/catalog/imports/{import_id}/apply", door.apply),
        web.delete("/admin/catalog/imports/{import_id}", door.discard),
    ]
