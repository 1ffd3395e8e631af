"""What operators, administrators and support may look at."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from aiohttp import web

from operations.handlers.looking import Looking
from operations.model import Filter
from operations.routes.rendering import READERS, as_json, id_of, path_id, with_exact_body
from payments_shared.auth import Verifier, require
from payments_shared.errors import Refused
from payments_shared.postgres import unavailable_as_retryable

LIST_MAX = 1000


@dataclass(frozen=True, slots=True)
class Door:
    """Reading needs operator, admin or support."""

    looking: Looking
    people: Verifier

    async def summary(self, request: web.Request) -> web.Response:
        """Counts; `?all=1` includes what is settled."""
        require(request, self.people, *READERS)
        with unavailable_as_retryable():
            rows = await self.looking.summary(everything=request.query.get("all") == "1")
        return as_json({"summary": rows})

    async def groups(self, request: web.Request) -> web.Response:
        """Filters: service, type."""
        require(request, self.people, *READERS)
        with unavailable_as_retryable():
            rows = await self.looking.groups(request.query.get("service"), request.query.get("type"))
        return as_json({"groups": [asdict(row) for row in rows]})

    async def listed(self, request: web.Request) -> web.Response:
        """Filters: service, type, status, fingerprint, older_than, newer_than (seconds), id, limit (at most 1000)."""
        require(request, self.people, *READERS)
        wanted, limit = _filter(request), _limit(request.query)
        with unavailable_as_retryable():
            rows = await self.looking.listed(wanted, limit)
        return as_json({"dead_letters": [asdict(row) for row in rows]})

    async def shown(self, request: web.Request) -> web.Response:
        """One dead letter with payload, headers, failures, replays and audit."""
        require(request, self.people, *READERS)
        with unavailable_as_retryable():
            row = await self.looking.shown(path_id(request))
        return as_json(with_exact_body(row))

    async def bulks(self, request: web.Request) -> web.Response:
        """The latest bulks."""
        require(request, self.people, *READERS)
        with unavailable_as_retryable():
            rows = await self.looking.bulks()
        return as_json({"bulks": rows})

    async def bulk(self, request: web.Request) -> web.Response:
        """One bulk and how far it is."""
        require(request, self.people, *READERS)
        with unavailable_as_retryable():
            row = await self.looking.bulk(path_id(request))
        return as_json(row)

    async def timeline(self, request: web.Request) -> web.Response:
        """Everything said about an order, in order."""
        require(request, self.people, *READERS)
        order_ref = request.match_info["order_id"]
        with unavailable_as_retryable():
            messages, letters = await self.looking.timeline(order_ref)
        return as_json({"order_id": order_ref, "messages": messages, "dead_letters": letters})


def _filter(request: web.Request) -> Filter:
    query = request.query
    ids = query.getall("id", [])
    return Filter(
        service=query.get("service"),
        type=query.get("type"),
        status=query.get("status"),
        fingerprint=query.get("fingerprint"),
        older_than_seconds=_seconds(query, "older_than"),
        newer_than_seconds=_seconds(query, "newer_than"),
        ids=tuple(id_of(one, status=422) for one in ids) or None,
    )


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", "100")
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LIST_MAX):
        raise Refused("validation_failed", f"limit is between 1 and {LIST_MAX}.", status=422)
    return int(text)


def _seconds(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Refused("validation_failed", f"{name} is whole seconds.", status=422)
    return float(text)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port; the fixed names must come before `{id}`."""
    return [
        web.get("/admin/dead-letters/summary", door.summary),
        web.get("/admin/dead-letters/groups", door.groups),
        web.get("/admin/dead-letters/bulks", door.bulks),
        web.get("/admin/dead-letters/bulks/{id}", door.bulk),
        web.get("/admin/dead-letters", door.listed),
        web.get("/admin/dead-letters/{id}", door.shown),
        web.get("/admin/orders/{order_id:ord_[0-9a-f]{32}}/timeline", door.timeline),
    ]
