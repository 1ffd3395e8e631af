"""What operators, administrators and support may look at."""

from dataclasses import asdict, dataclass
from typing import Annotated, Final, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from operations.handlers.looking import Looking
from operations.model.letters import Filter, Status
from operations.routes.rendering import BULK_ID, ID, LETTER_ID, READERS, as_json, path_id, with_exact_body
from operations.routes.shapes import Bulk, Bulks, Groups, Letter, Letters, Summary, Timeline
from payments_shared.auth import Verifier, require
from payments_shared.http import DIGITS, read_query
from payments_shared.http.operations import DATABASE_AWAY, NOT_FOUND, Answer, Operation, Parameter, Section
from payments_shared.postgres import unavailable_as_retryable

LIST_MAX = 1000
IDS_MAX = 100  # what the first line of a request has room for
Name = Annotated[str, Field(max_length=255, pattern=r"^[\x20-\x7e]*$")]
Seconds = Annotated[int, Field(ge=0, le=999_999_999), DIGITS]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SummaryQuery(_Query):
    """`GET /admin/dead-letters/summary`."""

    all: Annotated[Literal["0", "1"], Field(description="1 counts what is settled as well.")] = "0"


class GroupsQuery(_Query):
    """`GET /admin/dead-letters/groups`."""

    service: Name | None = None
    type: Name | None = None


class ListQuery(_Query):
    """`GET /admin/dead-letters`. Ages are whole seconds since the latest failure."""

    service: Name | None = None
    type: Name | None = None
    status: Status | None = None
    fingerprint: Name | None = None
    older_than: Seconds | None = None
    newer_than: Seconds | None = None
    id: Annotated[list[UUID], Field(max_length=IDS_MAX)] = Field(default_factory=list)
    archived: Annotated[
        Literal["0", "1"] | None, Field(description="1: in the archive; 0: not in it; by default all.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=LIST_MAX), DIGITS] = 100

    def filter(self) -> Filter:
        return Filter(
            service=self.service,
            type=self.type,
            status=self.status,
            fingerprint=self.fingerprint,
            older_than_seconds=self.older_than,
            newer_than_seconds=self.newer_than,
            ids=tuple(self.id) or None,
            archived=None if self.archived is None else self.archived == "1",
        )


SUMMARY: Final = Operation(
    method="GET",
    path="/admin/dead-letters/summary",
    id="countDeadLetters",
    summary="Count dead letters by service, type, reason and status.",
    callers=READERS,
    query=SummaryQuery,
    answers=(Answer(200, "The counts.", Summary),),
    refusals=(DATABASE_AWAY,),
)
GROUPS: Final = Operation(
    method="GET",
    path="/admin/dead-letters/groups",
    id="groupDeadLetters",
    summary="Group what is unsettled by how it failed.",
    callers=READERS,
    query=GroupsQuery,
    answers=(Answer(200, "The groups, the largest first.", Groups),),
    refusals=(DATABASE_AWAY,),
)
LIST: Final = Operation(
    method="GET",
    path="/admin/dead-letters",
    id="listDeadLetters",
    summary="List dead letters, the latest failures first.",
    callers=READERS,
    query=ListQuery,
    answers=(Answer(200, "Those that match.", Letters),),
    refusals=(DATABASE_AWAY,),
)
SHOW: Final = Operation(
    method="GET",
    path=f"/admin/dead-letters/{ID}",
    id="getDeadLetter",
    summary="See a dead letter with payload, headers, failures, replays and audit.",
    callers=READERS,
    parameters=(LETTER_ID,),
    answers=(Answer(200, "The dead letter.", Letter),),
    refusals=(NOT_FOUND, DATABASE_AWAY),
)
BULKS: Final = Operation(
    method="GET",
    path="/admin/dead-letters/bulks",
    id="listBulks",
    summary="List the latest bulks.",
    callers=READERS,
    answers=(Answer(200, "The latest twenty.", Bulks),),
    refusals=(DATABASE_AWAY,),
)
BULK: Final = Operation(
    method="GET",
    path=f"/admin/dead-letters/bulks/{ID}",
    id="getBulk",
    summary="See a bulk and how far it is.",
    callers=READERS,
    parameters=(BULK_ID,),
    answers=(Answer(200, "The bulk.", Bulk),),
    refusals=(NOT_FOUND, DATABASE_AWAY),
)
TIMELINE: Final = Operation(
    method="GET",
    path="/admin/orders/{order_id:ord_[0-9a-f]{32}}/timeline",
    id="getTimeline",
    summary="See everything said about an order, in order.",
    callers=READERS,
    parameters=(Parameter("order_id", "path", "The order."),),
    answers=(Answer(200, "What was said; nothing for an order that is not known.", Timeline),),
    refusals=(DATABASE_AWAY,),
)
SECTION: Final = Section(
    "looking", "For operators, administrators and support.", (SUMMARY, GROUPS, LIST, SHOW, BULKS, BULK, TIMELINE)
)


@dataclass(frozen=True, slots=True)
class Door:
    """Nothing here changes anything."""

    looking: Looking
    people: Verifier

    async def summary(self, request: web.Request) -> web.Response:
        """Counts."""
        require(request, self.people, *SUMMARY.roles)
        query = read_query(request, SummaryQuery)
        with unavailable_as_retryable():
            rows = await self.looking.summary(everything=query.all == "1")
        return as_json({"summary": rows})

    async def groups(self, request: web.Request) -> web.Response:
        """What is unsettled."""
        require(request, self.people, *GROUPS.roles)
        query = read_query(request, GroupsQuery)
        with unavailable_as_retryable():
            rows = await self.looking.groups(query.service, query.type)
        return as_json({"groups": [asdict(row) for row in rows]})

    async def listed(self, request: web.Request) -> web.Response:
        """Dead letters."""
        require(request, self.people, *LIST.roles)
        query = read_query(request, ListQuery)
        with unavailable_as_retryable():
            rows = await self.looking.listed(query.filter(), query.limit)
        return as_json({"dead_letters": [asdict(row) for row in rows]})

    async def shown(self, request: web.Request) -> web.Response:
        """One dead letter with payload, headers, failures, replays and audit."""
        require(request, self.people, *SHOW.roles)
        with unavailable_as_retryable():
            row = await self.looking.shown(path_id(request))
        return as_json(with_exact_body(row))

    async def bulks(self, request: web.Request) -> web.Response:
        """The latest bulks."""
        require(request, self.people, *BULKS.roles)
        with unavailable_as_retryable():
            rows = await self.looking.bulks()
        return as_json({"bulks": rows})

    async def bulk(self, request: web.Request) -> web.Response:
        """One bulk and how far it is."""
        require(request, self.people, *BULK.roles)
        with unavailable_as_retryable():
            row = await self.looking.bulk(path_id(request))
        return as_json(row)

    async def timeline(self, request: web.Request) -> web.Response:
        """Everything said about an order, in order."""
        require(request, self.people, *TIMELINE.roles)
        order_ref = request.match_info["order_id"]
        with unavailable_as_retryable():
            messages, letters = await self.looking.timeline(order_ref)
        return as_json({"order_id": order_ref, "messages": messages, "dead_letters": letters})


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port; the fixed names must come before `{id}`."""
    return [
        SUMMARY.to(door.summary),
        GROUPS.to(door.groups),
        BULKS.to(door.bulks),
        BULK.to(door.bulk),
        LIST.to(door.listed),
        SHOW.to(door.shown),
        TIMELINE.to(door.timeline),
    ]
