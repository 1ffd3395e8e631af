"""Bulks: what one would take, how far one is, and what people do to it."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from operations.handlers.acting import Acting
from operations.handlers.looking import Looking
from operations.model.bulks import ANYTHING_MAX, Act, Instruction
from operations.model.letters import Filter, Status
from operations.routes.console.forms import FORM_KEY, Form, checked, number, query_of
from operations.routes.console.pages import page, see
from operations.routes.console.people import operator
from operations.routes.looking import IDS_MAX, Name, Seconds
from operations.routes.rendering import ID, path_id
from operations.routes.wishes import RATE, BulkRequest, ReasonRequest
from operations.store import Row
from operations.store.bulks import as_json
from payments_shared.errors import FieldError, Refused
from payments_shared.postgres import unavailable_as_retryable

PATH: Final = "/console/bulks"
TYPED_ABOVE: Final = 10  # whoever takes more types how many: a slip of the hand must not move thousands
SHOWN_IDS: Final = 20
TAKEN: Final[Mapping[Act, Sequence[Status]]] = {
    "replay": (Status.OPEN,),
    "discard": (Status.OPEN,),
    "archive": (Status.RESOLVED, Status.DISCARDED),
}
_WHOLE: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
NAMES: Final = ("service", "type", "fingerprint", "older_than", "newer_than")


class NewBulkQuery(BaseModel):
    """`GET /console/bulks/new`: what it would do, and to which dead letters."""

    model_config = ConfigDict(extra="ignore")  # the list's own fields come along

    act: Act
    status: Status | None = None
    service: Name | None = None
    type: Name | None = None
    fingerprint: Name | None = None
    older_than: Seconds | None = None
    newer_than: Seconds | None = None
    id: Annotated[list[UUID], Field(max_length=IDS_MAX)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _of_what_stands_there(self) -> "NewBulkQuery":
        """All that match are open ones, or for an archive settled ones; what stands elsewhere goes by its id."""
        if self.status is not None and self.status not in TAKEN[self.act]:
            raise ValueError(f"an act upon many takes what is {' or '.join(TAKEN[self.act])}")
        return self

    def given(self) -> list[tuple[str, str]]:
        """The selection as fields of a form. What is open needs no word."""
        named = [(name, str(value)) for name in NAMES if (value := getattr(self, name)) is not None]
        settled = [("status", self.status.value)] if self.status and self.act == "archive" else []
        return [*settled, *named, *(("id", str(one)) for one in self.id)]


@dataclass(frozen=True, slots=True)
class Draft:
    """A bulk that nobody has started: as typed, with what is wrong with it."""

    act: Act
    selection: list[tuple[str, str]]
    rate: str = f"{RATE:g}"
    limit: str = str(ANYTHING_MAX)
    reason: str = ""
    force: bool = False
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Everybody looks; operators act."""

    looking: Looking
    acting: Acting

    async def listed(self, request: web.Request) -> web.Response:
        """The latest bulks."""
        with unavailable_as_retryable():
            rows = await self.looking.bulks()
        return page(request, "bulks.html", bulks=rows)

    async def shown(self, request: web.Request) -> web.Response:
        """One bulk."""
        return page(request, "bulk.html", bulk=await self._bulk(request), changed=False)

    async def progress(self, request: web.Request) -> web.Response:
        """How far it is. What may be done to it comes along only once that is something else than the page shows: a
        reason that is being typed must stay."""
        bulk = await self._bulk(request)
        changed = request.query.get("was", bulk["state"]) != bulk["state"]
        return page(request, "bulk_progress.html", bulk=bulk, changed=changed)

    async def draft(self, request: web.Request) -> web.Response:
        """What a bulk would take at this moment."""
        operator(request)
        query = query_of(request, NewBulkQuery)
        return await self._drafted(request, Draft(query.act, query.given()))

    async def start(self, request: web.Request) -> web.Response:
        """Start it with at most as many as were shown and typed; or show anew what it would take."""
        who, form = operator(request), request[FORM_KEY]
        drafted = _draft_of(form)
        if form.first("step") != "start":
            return await self._drafted(request, drafted)
        try:
            instruction = _instruction(form, who.subject)
            with unavailable_as_retryable():
                taken = (await self.acting.preview(instruction))["taken"]
                bulk_id = await self.acting.start(_confirmed(instruction, form, taken))
        except Refused as error:
            return await self._drafted(request, replace(drafted, refused=error), status=error.status)
        return see(f"{PATH}/{bulk_id}?said=started")

    async def pause(self, request: web.Request) -> web.Response:
        return await self._change(request, self.acting.pause, "paused")

    async def resume(self, request: web.Request) -> web.Response:
        return await self._change(request, self.acting.resume, "resumed")

    async def cancel(self, request: web.Request) -> web.Response:
        return await self._change(request, self.acting.cancel, "canceled")

    async def _change(self, request: web.Request, change: Callable[..., Awaitable[None]], said: str) -> web.Response:
        bulk_id, who = path_id(request), operator(request)
        asked = checked(ReasonRequest, {"reason": request[FORM_KEY].first("reason").strip()})
        with unavailable_as_retryable():
            await change(bulk_id, actor=who.subject, reason=asked.reason)
        return see(f"{PATH}/{bulk_id}?said={said}")

    async def _bulk(self, request: web.Request) -> Row:
        with unavailable_as_retryable():
            return await self.looking.bulk(path_id(request))

    async def _drafted(self, request: web.Request, drafted: Draft, *, status: int = 200) -> web.Response:
        """The page of a draft, with what it would take."""
        preview: dict[str, Any] | None = None  # Any: as Acting.preview tells it
        wanted, refused = _filter(drafted.selection), drafted.refused
        try:
            _refuse_everything(wanted)
            limit = int(number(drafted.limit, "limit"))
            asked = Instruction(
                drafted.act,
                wanted,
                min(max(limit, 1), ANYTHING_MAX),
                RATE,
                force=drafted.force,
                actor="",
                reason="",
            )
            with unavailable_as_retryable():
                preview = await self.acting.preview(asked)
        except Refused as error:
            refused = refused or error
        return page(
            request,
            "bulk_new.html",
            status=status,
            draft=drafted,
            wanted=as_json(wanted),
            preview=preview,
            shown_ids=SHOWN_IDS,
            typed=preview is not None and preview["taken"] > TYPED_ABOVE,
            refused=refused,
            doubtful=refused is not None and refused.code == "outcome_unknown",
        )


def _filter(selection: list[tuple[str, str]]) -> Filter:
    one = dict(selection)
    ids = tuple(UUID(value) for name, value in selection if name == "id")
    older, newer = one.get("older_than"), one.get("newer_than")
    return Filter(
        service=one.get("service"),
        type=one.get("type"),
        status=one.get("status"),
        fingerprint=one.get("fingerprint"),
        older_than_seconds=None if older is None else float(older),
        newer_than_seconds=None if newer is None else float(newer),
        ids=ids or None,
    )


def _selection(form: Form) -> NewBulkQuery:
    named = {name: form.first(name) for name in ("act", "status", *NAMES) if form.first(name)}
    return checked(NewBulkQuery, {**named, "id": form.all("id")})


def _draft_of(form: Form) -> Draft:
    selected = _selection(form)
    return Draft(
        act=selected.act,
        selection=selected.given(),
        rate=form.first("rate"),
        limit=form.first("limit"),
        reason=form.first("reason"),
        force=form.first("force") == "1",
    )


def _instruction(form: Form, actor: str) -> Instruction:
    """What the form asks for, checked as the same request is as JSON.

    Raises:
        Refused: 422.
    """
    selected = _selection(form)
    wanted = _filter(selected.given())
    given = {
        "act": selected.act,
        "filter": as_json(wanted),
        "reason": form.first("reason").strip(),
        "rate": number(form.first("rate"), "rate"),
        "limit": int(number(form.first("limit"), "limit")),
        "force": form.first("force") == "1",
    }
    _refuse_everything(wanted)
    return checked(BulkRequest, given).instruction(actor)


def _confirmed(instruction: Instruction, form: Form, taken: int) -> Instruction:
    """What may start. `taken` is what it would take at this moment: of many, no more go than were shown and typed,
    however many have failed since.

    Raises:
        Refused: 422 `not_confirmed`.
    """
    if taken <= TYPED_ABOVE:
        return replace(instruction, limit=min(instruction.limit, TYPED_ABOVE))
    shown, typed = form.first("shown"), form.first("typed").strip().replace(",", "")
    if typed != shown or not _WHOLE.fullmatch(shown):
        fault = FieldError("/typed", "must be the number that was shown")
        raise Refused("not_confirmed", "Type how many messages it takes.", status=422, errors=[fault])
    return replace(instruction, limit=min(instruction.limit, int(typed)))


def _refuse_everything(wanted: Filter) -> None:
    if not wanted.narrows:
        raise Refused("filter_required", "Name ids, a service, a type, a status, a fingerprint or an age.", status=422)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of bulks; the fixed names must come before `{id}`."""
    one = f"{PATH}/{ID}"
    return [
        web.get(PATH, door.listed),
        web.get(f"{PATH}/new", door.draft),
        web.post(f"{PATH}/new", door.start),
        web.get(one, door.shown),
        web.get(f"{one}/progress", door.progress),
        web.post(f"{one}/pause", door.pause),
        web.post(f"{one}/resume", door.resume),
        web.post(f"{one}/cancel", door.cancel),
    ]
