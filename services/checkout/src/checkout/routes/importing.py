"""Catalogue files from people, on the internal port."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Final, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt
from typing_extensions import TypedDict

from checkout.decide.importing import Fault
from checkout.handlers.importing import Imports
from payments_shared.auth import Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import read_json
from payments_shared.http.operations import (
    DATABASE_AWAY,
    NOT_FOUND,
    Answer,
    Body,
    Operation,
    Parameter,
    Refusal,
    people,
)
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
    cells: dict[str, str]


class RowsRequest(BaseModel):
    """`PUT /admin/catalog/imports/{id}/rows`: a piece of the file."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[list[Row], Field(min_length=1, max_length=ROWS_AT_ONCE)]


class ApplyRequest(BaseModel):
    """`POST /admin/catalog/imports/{id}/apply`: how many rows the file has."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[StrictInt, Field(ge=1, le=ROWS_MAX)]
    dry_run: StrictBool = False


class Begun(TypedDict):
    """The import's id."""

    id: UUID


class FaultShown(TypedDict):
    """What is wrong with a cell."""

    row: Annotated[int, Field(ge=2)]
    column: str
    detail: str


class Added(TypedDict):
    """How many rows the piece had, and what is wrong with them."""

    rows: Annotated[int, Field(ge=1)]
    faults: list[FaultShown]


class Faults(TypedDict):
    """What is wrong with the parts of bundles, by rows; 10,000 at most."""

    faults: list[FaultShown]


class Applied(TypedDict):
    """How many products were created, changed and left as they were; of a dry run, how many would be."""

    created: Annotated[int, Field(ge=0)]
    changed: Annotated[int, Field(ge=0)]
    unchanged: Annotated[int, Field(ge=0)]
    dry_run: bool


class Discarded(TypedDict):
    """Nothing came of it."""

    discarded: Literal[True]


WRITERS: Final = (people("admin"),)
IMPORT_ID: Final = Parameter("import_id", "path", "The import.", UUID)
ENDED: Final = Refusal(409, "import_ended", "it was imported or discarded.")
BEGIN: Final = Operation(
    method="POST",
    path="/admin/catalog/imports",
    id="beginImport",
    summary="Begin to import a catalogue file.",
    callers=WRITERS,
    body=Body(BeginRequest, {"file": "products.csv", "columns": ["sku", "name", "price_usd"]}),
    answers=(Answer(201, "It has begun.", Begun),),
    refusals=(
        Refusal(422, "columns_refused", "`errors` name the columns that are unknown, missing or there twice."),
        DATABASE_AWAY,
    ),
)
ADD: Final = Operation(
    method="PUT",
    path="/admin/catalog/imports/{import_id}/rows",
    id="addRows",
    summary="Add a piece of the file, and learn what is wrong with it.",
    description="The same rows again replace themselves.",
    callers=WRITERS,
    parameters=(IMPORT_ID,),
    body=Body(RowsRequest, {"rows": [{"row": 2, "cells": {"sku": "MUG", "name": "Mug", "price_usd": "18.00"}}]}),
    answers=(Answer(200, "The rows are kept, but for those with faults.", Added),),
    refusals=(NOT_FOUND, ENDED, DATABASE_AWAY),
)
FAULTS: Final = Operation(
    method="GET",
    path="/admin/catalog/imports/{import_id}/faults",
    id="listImportFaults",
    summary="See what is wrong with what bundles would consist of.",
    description=(
        "Ask once all rows are here: parts are looked for in the whole file, and in the catalogue as it is now. What "
        "is wrong with a row by itself was told when it was added."
    ),
    callers=WRITERS,
    parameters=(IMPORT_ID,),
    answers=(Answer(200, "What is wrong; nothing, if all is right.", Faults),),
    refusals=(NOT_FOUND, ENDED, DATABASE_AWAY),
)
APPLY: Final = Operation(
    method="POST",
    path="/admin/catalog/imports/{import_id}/apply",
    id="applyImport",
    summary="Make the catalogue say what the file says.",
    description="All of it in one step, or nothing.",
    callers=WRITERS,
    parameters=(IMPORT_ID,),
    body=Body(ApplyRequest, {"rows": 1, "dry_run": True}),
    answers=(Answer(200, "What changed.", Applied),),
    refusals=(
        NOT_FOUND,
        ENDED,
        Refusal(
            409, "import_has_faults", "rows were refused, or parts of bundles, of which `errors` tell; begin another."
        ),
        Refusal(409, "import_incomplete", "rows are missing."),
        DATABASE_AWAY,
    ),
)
DISCARD: Final = Operation(
    method="DELETE",
    path="/admin/catalog/imports/{import_id}",
    id="discardImport",
    summary="End an import without effect.",
    callers=WRITERS,
    parameters=(IMPORT_ID,),
    answers=(Answer(200, "Nothing came of it.", Discarded),),
    refusals=(NOT_FOUND, ENDED, DATABASE_AWAY),
)
OPERATIONS: Final = (BEGIN, ADD, FAULTS, APPLY, DISCARD)


@dataclass(frozen=True, slots=True)
class Door:
    """Import routes, for the role admin."""

    imports: Imports
    people: Verifier

    async def begin(self, request: web.Request) -> web.Response:
        """201 with the import's id."""
        person = require(request, self.people, *BEGIN.roles)
        body = await read_json(request, BeginRequest)
        with unavailable_as_retryable():
            import_id = await self.imports.begin(person.subject, body.file, body.columns)
        return web.json_response({"id": str(import_id)}, status=201)

    async def add(self, request: web.Request) -> web.Response:
        """What is wrong with the rows of a piece; nothing when it is empty."""
        require(request, self.people, *ADD.roles)
        body = await read_json(request, RowsRequest)
        rows = {row.row: row.cells for row in body.rows}
        with unavailable_as_retryable():
            faults = await self.imports.add(_import_id(request), rows)
        answer: Added = {"rows": len(rows), "faults": _told(faults)}
        return web.json_response(answer)

    async def faults(self, request: web.Request) -> web.Response:
        """What is wrong with the parts of bundles."""
        require(request, self.people, *FAULTS.roles)
        with unavailable_as_retryable():
            found = await self.imports.faults(_import_id(request))
        answer: Faults = {"faults": _told(found)}
        return web.json_response(answer)

    async def apply(self, request: web.Request) -> web.Response:
        """How many products were created, changed and left as they were."""
        person = require(request, self.people, *APPLY.roles)
        body = await read_json(request, ApplyRequest)
        with unavailable_as_retryable():
            counts = await self.imports.apply(
                _import_id(request), person.subject, rows=body.rows, keep=not body.dry_run
            )
        return web.json_response({**asdict(counts), "dry_run": body.dry_run})

    async def discard(self, request: web.Request) -> web.Response:
        """End an import without effect."""
        require(request, self.people, *DISCARD.roles)
        with unavailable_as_retryable():
            await self.imports.discard(_import_id(request))
        return web.json_response({"discarded": True})


def _told(faults: Sequence[Fault]) -> list[FaultShown]:
    return [{"row": fault.position, "column": fault.column, "detail": fault.detail} for fault in faults]


def _import_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["import_id"])
    except ValueError:
        raise Refused("not_found", "There is no such import.", status=404) from None


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        BEGIN.to(door.begin),
        ADD.to(door.add),
        FAULTS.to(door.faults, allow_head=False),
        APPLY.to(door.apply),
        DISCARD.to(door.discard),
    ]
