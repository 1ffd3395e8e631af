"""Stripe's events for operators: what came, whether its message was published, and how to hand it over again."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from payments_shared.auth import Principal, Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import DIGITS, read_json, read_query
from payments_shared.http.operations import (
    DATABASE_AWAY,
    NOT_FOUND,
    Answer,
    Body,
    Operation,
    Parameter,
    Refusal,
    Section,
    people,
)
from payments_shared.personal import hidden_body
from payments_shared.postgres import unavailable_as_retryable
from payments_shared.redaction import redacted_text
from webhook_ingest.handlers.redelivering import Listed, Redelivering, Shown
from webhook_ingest.model import Delivery, State, Stored, Wanted

PAGE: Final = 50
PAGE_MAX: Final = 200
READERS: Final = (people("admin", "approver", "operator", "support", "viewer"),)
NEWEST: Final = datetime(9999, 1, 1, tzinfo=UTC)


def _written(value: object) -> object:
    # A bare number would be taken for seconds since 1970.
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("must be a day such as 2026-03-01")
    return value


_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
Day = Annotated[
    date, BeforeValidator(_written), Field(description="The day, in UTC, on which Stripe created the event.")
]
EVENT_ID_PATTERN: Final = r"^(evt|dead)_[A-Za-z0-9_]{1,250}$"
_EVENT_ID: Final = re.compile(EVENT_ID_PATTERN, re.ASCII)
EventId = Annotated[str, Field(pattern=EVENT_ID_PATTERN)]
Text = Annotated[str, Field(max_length=255, pattern=r"^[\x20-\x7e]*$")]
DAY: Final = Parameter("day", "path", "The day, in UTC, on which Stripe created the event.", date)
EVENT_ID: Final = Parameter("event_id", "path", "The event, as Stripe names it.", EventId)


def _position(text: str) -> str:
    _read_position(text)
    return text


def _read_position(text: str) -> tuple[datetime, str]:
    at, _, event_id = text.partition("~")
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None or not _EVENT_ID.fullmatch(event_id):
        raise ValueError("must be the next_cursor of the page before")
    return moment, event_id


class EventsQuery(BaseModel):
    """`GET /admin/stripe/events`."""

    model_config = ConfigDict(extra="forbid")

    day: Day
    type: Text | None = None
    state: State | None = None
    named: Annotated[Text | None, Field(description="The event, or the object of Stripe's that it is about.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX), DIGITS] = PAGE
    cursor: Annotated[
        Annotated[str, Field(max_length=320), AfterValidator(_position)] | None,
        Field(description="The `next_cursor` of the page before."),
    ] = None

    def wanted(self) -> Wanted:
        """What is asked for."""
        before, before_id = _read_position(self.cursor) if self.cursor else (NEWEST, "")
        return Wanted(self.day, self.type, self.state.value if self.state else None, self.named, before, before_id)


class ResendRequest(BaseModel):
    """`POST …/resend`."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[
        str, StringConstraints(strip_whitespace=True), Field(min_length=3, max_length=500, pattern=r"^[^\x00]*$")
    ]


class DeliveryShown(TypedDict):
    """The message of an event. `published_at` null: it waits for the broker, which failed `attempts` times."""

    message_id: str
    order_id: str | None
    published_at: str | None
    attempts: int
    last_error: str | None


class EventShown(TypedDict):
    """An event as it is kept. `ignored`: nobody hears it; `dead`: it cannot be used; `reason` says why. `source` is how
    it came, `webhook` or `pull`. No `delivery`: it has no message, or one that is no longer kept."""

    day: str
    event_id: str
    type: str
    object_id: str | None
    livemode: bool | None
    account: str | None
    api_version: str | None
    state: Annotated[str, Field(json_schema_extra={"enum": [state.value for state in State]})]
    reason: str | None
    source: str
    received_at: str
    delivery: DeliveryShown | None


class Events(TypedDict):
    """A page of a day, the latest stored first; `next_cursor` is null on the last."""

    events: list[EventShown]
    next_cursor: str | None


class ResendShown(TypedDict):
    """Somebody handed it to the broker again."""

    actor: str
    reason: str
    at: str


class EventStory(EventShown):
    """With its bytes as text, and who handed it to the broker again. `exact`: they are text. What lets a browser act
    upon an object of Stripe's, its `client_secret`, and other secrets are shown as `[redacted]`; to viewers and
    approvers what tells who a buyer is, as `[hidden]`, and so is what is no JSON object."""

    payload: str
    exact: bool
    resends: list[ResendShown]


LIST: Final = Operation(
    method="GET",
    path="/admin/stripe/events",
    id="listStripeEvents",
    summary="List the events that Stripe sent, a day at a time.",
    callers=READERS,
    query=EventsQuery,
    answers=(Answer(200, "A page of events.", Events),),
    refusals=(DATABASE_AWAY,),
)
SHOW: Final = Operation(
    method="GET",
    path="/admin/stripe/events/{day}/{event_id}",
    id="getStripeEvent",
    summary="See an event with its payload.",
    callers=READERS,
    parameters=(DAY, EVENT_ID),
    answers=(Answer(200, "The event.", EventStory),),
    refusals=(NOT_FOUND, DATABASE_AWAY),
)
RESEND: Final = Operation(
    method="POST",
    path="/admin/stripe/events/{day}/{event_id}/resend",
    id="resendStripeEvent",
    summary="Hand an event to the broker again.",
    description="Under the id of its message, so that whoever took it already does nothing. It is kept who did so.",
    callers=(people("operator"),),
    parameters=(DAY, EVENT_ID),
    body=Body(ResendRequest, {"reason": "The queue was made anew."}),
    answers=(Answer(200, "The event.", EventStory),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "not_heard", "nobody hears it, so that it has no message."),
        Refusal(409, "no_longer_kept", "its message is older than what consumers remember."),
        DATABASE_AWAY,
    ),
)
SECTION: Final = Section("events", "Stripe's events, for operators.", (LIST, SHOW, RESEND))


@dataclass(frozen=True, slots=True)
class Door:
    """Staff look; operators hand over again."""

    redelivering: Redelivering
    people: Verifier

    async def list(self, request: web.Request) -> web.Response:
        """A page of a day."""
        require(request, self.people, *LIST.roles)
        query = read_query(request, EventsQuery)
        with unavailable_as_retryable():
            found = await self.redelivering.listed(query.wanted(), query.limit + 1)
        page = found[: query.limit]
        last = page[-1].event if len(found) > query.limit else None
        following = f"{last.received_at.isoformat()}~{last.event_id}" if last else None
        return web.json_response({"events": [_listed(one) for one in page], "next_cursor": following})

    async def show(self, request: web.Request) -> web.Response:
        """One event."""
        who = require(request, self.people, *SHOW.roles)
        return await self._shown(who, *_place(request))

    async def resend(self, request: web.Request) -> web.Response:
        """The event, which is on its way again."""
        who = require(request, self.people, *RESEND.roles)
        body = await read_json(request, ResendRequest)
        day, event_id = _place(request)
        with unavailable_as_retryable():
            await self.redelivering.resend(day, event_id, actor=who.subject, reason=body.reason)
        return await self._shown(who, day, event_id)

    async def _shown(self, who: Principal, day: date, event_id: str) -> web.Response:
        with unavailable_as_retryable():
            found = await self.redelivering.shown(day, event_id)
        return web.json_response(_story(found, found.raw if who.sees_buyers else hidden_body(found.raw)))


def _place(request: web.Request) -> tuple[date, str]:
    day, event_id = request.match_info["day"], request.match_info["event_id"]
    try:
        found = date.fromisoformat(day)
    except ValueError:
        found = None
    if found is None or not _EVENT_ID.fullmatch(event_id):
        raise Refused("not_found", "There is no such event.", status=404)
    return found, event_id


def _listed(one: Listed) -> EventShown:
    return _event(one.event, one.delivery)


def _event(event: Stored, delivery: Delivery | None) -> EventShown:
    return {
        "day": event.day.isoformat(),
        "event_id": event.event_id,
        "type": event.type,
        "object_id": event.object_id,
        "livemode": event.livemode,
        "account": event.account,
        "api_version": event.api_version,
        "state": event.state,
        "reason": event.reason,
        "source": event.source,
        "received_at": event.received_at.isoformat(),
        "delivery": _delivery(delivery) if delivery else None,
    }


def _delivery(one: Delivery) -> DeliveryShown:
    return {
        "message_id": str(one.message_id),
        "order_id": one.correlation_id,
        "published_at": one.published_at.isoformat() if one.published_at else None,
        "attempts": one.attempts,
        "last_error": one.last_error,
    }


def _story(one: Shown, raw: bytes) -> EventStory:
    resends: list[ResendShown] = [
        {"actor": each.actor, "reason": each.reason, "at": each.at.isoformat()} for each in one.resends
    ]
    exact = one.raw.decode(errors="replace").encode() == one.raw
    shown = redacted_text(raw.decode(errors="replace"))
    return {**_event(one.event, one.delivery), "payload": shown, "exact": exact, "resends": resends}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [LIST.to(door.list), SHOW.to(door.show), RESEND.to(door.resend)]
