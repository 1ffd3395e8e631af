"""The operators' door, on the internal port."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from operations.handlers import Handlers
from operations.model import Filter
from payments_shared.auth import Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import read_json
from payments_shared.postgres import unavailable_as_retryable

READERS = ("operator", "admin", "support")


class ReplayRequest(BaseModel):
    """`POST /admin/dead-letters/{id}/replay`."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(min_length=3, max_length=500)]


@dataclass(frozen=True, slots=True)
class Door:
    """Reading needs operator, admin or support; a replay needs operator."""

    handlers: Handlers
    people: Verifier

    async def summary(self, request: web.Request) -> web.Response:
        """Counts; `?all=1` includes what is resolved."""
        require(request, self.people, *READERS)
        with unavailable_as_retryable():
            rows = await self.handlers.summary(everything=request.query.get("all") == "1")
        return _json({"summary": rows})

    async def listed(self, request: web.Request) -> web.Response:
        """Filters: service, type, status, fingerprint, limit (at most 1000)."""
        require(request, self.people, *READERS)
        query = request.query
        limit = query.get("limit", "100")
        if not limit.isdigit() or not 1 <= int(limit) <= 1000:
            raise Refused("validation_failed", "limit is between 1 and 1000.", status=422)
        wanted = Filter(
            query.get("service"), query.get("type"), query.get("status"), query.get("fingerprint"), int(limit)
        )
        with unavailable_as_retryable():
            rows = await self.handlers.listed(wanted)
        return _json({"dead_letters": [asdict(row) for row in rows]})

    async def shown(self, request: web.Request) -> web.Response:
        """One dead letter with payload, headers, attempts and audit."""
        require(request, self.people, *READERS)
        with unavailable_as_retryable():
            row = await self.handlers.shown(_id(request))
        return _json(row)

    async def replay(self, request: web.Request) -> web.Response:
        """202 when it was sent back, 409 when it is not open."""
        principal = require(request, self.people, "operator")
        body = await read_json(request, ReplayRequest)
        with unavailable_as_retryable():
            replay_id = await self.handlers.replay(_id(request), actor=principal.subject, reason=body.reason)
        if replay_id is None:
            raise Refused("not_open", "The dead letter is being replayed, or is resolved.")
        return _json({"replay_id": replay_id}, status=202)

    async def timeline(self, request: web.Request) -> web.Response:
        """Everything said about an order, in order."""
        require(request, self.people, *READERS)
        order_ref = request.match_info["order_id"]
        with unavailable_as_retryable():
            messages, letters = await self.handlers.timeline(order_ref)
        return _json({"order_id": order_ref, "messages": messages, "dead_letters": letters})


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise Refused("not_found", "There is no such dead letter.", status=404) from None


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(value, default=_plain).encode(), status=status, content_type="application/json")


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


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        web.get("/admin/dead-letters/summary", door.summary),
        web.get("/admin/dead-letters", door.listed),
        web.get("/admin/dead-letters/{id}", door.shown),
        web.post("/admin/dead-letters/{id}/replay", door.replay),
        web.get("/admin/orders/{order_id:ord_[0-9a-f]{32}}/timeline", door.timeline),
    ]
