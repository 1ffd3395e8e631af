"""Answers as JSON, and ids from paths."""

import base64
import json
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from operations.store import Row
from payments_shared.errors import Refused
from payments_shared.http.operations import Parameter, people

READERS: Final = (people("operator", "admin", "support"),)
ID: Final = "{id:[0-9A-Fa-f-]{32,36}}"
LETTER_ID: Final = Parameter("id", "path", "The dead letter.", UUID)
BULK_ID: Final = Parameter("id", "path", "The bulk.", UUID)


def as_json(value: object, *, status: int = 200) -> web.Response:
    """Any of our rows; bytes are shown as text."""
    return web.Response(body=json.dumps(value, default=_plain).encode(), status=status, content_type="application/json")


def with_exact_body(row: Row) -> Row:
    """A row whose body is no text bears it in base64 as well: what is shown has lost something."""
    body = row["body"]
    try:
        body.decode()
    except UnicodeDecodeError:
        return {**row, "body_base64": base64.b64encode(body).decode()}
    return row


def path_id(request: web.Request) -> UUID:
    """The id in the path.

    Raises:
        Refused: 404 for what is none.
    """
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise Refused("not_found", "That is no id.", status=404) from None


def _plain(value: Any) -> object:  # Any: whatever json.dumps does not know
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case bytes():
            return value.decode(errors="replace")
        case _:
            raise TypeError(type(value).__name__)
