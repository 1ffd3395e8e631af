"""Dead letters: their groups, lists of them, one of them, and what becomes of it."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal
from uuid import UUID

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from operations.decide import discretion
from operations.handlers.acting import Acting, Edit
from operations.handlers.counting import Counting
from operations.handlers.looking import NEWEST, Looking
from operations.model.letters import Filter, Position, Status
from operations.routes.console import wording
from operations.routes.console.forms import FORM_KEY, Form, checked, query_of, read_position, written_position
from operations.routes.console.pages import page, person, see
from operations.routes.console.people import in_words_for, operator
from operations.routes.looking import GroupsQuery, ListQuery
from operations.routes.rendering import ID, path_id
from operations.routes.wishes import ArchiveRequest, ReasonRequest
from operations.store import Row
from payments_shared.contracts.catalog import CONSUMERS
from payments_shared.errors import FieldError, Refused
from payments_shared.postgres import unavailable_as_retryable
from payments_shared.strict_json import MalformedJson, strict_json_loads

PAGE: Final = 50
GROUPS: Final = 100  # on a page, unless somebody wants to see all of them
PATH: Final = "/console/dead-letters"


def _position(text: str) -> str:
    read_position(text)
    return text


class PageOfGroupsQuery(GroupsQuery):
    """`all`: also the small ones, where there are many."""

    all: Literal["1"] | None = None


class PageQuery(ListQuery):
    """`before`: where the page before ended. What is in the archive is shown to who asks for it."""

    archived: Literal["0", "1", "any"] = "0"  # type: ignore[assignment] # one word more than programs have
    before: Annotated[str, Field(max_length=100), AfterValidator(_position)] | None = None

    def filter(self) -> Filter:
        return replace(super().filter(), archived={"0": False, "1": True, "any": None}[self.archived])

    @property
    def behind(self) -> Position:
        return read_position(self.before) if self.before else NEWEST


class ArchiveQuery(BaseModel):
    """`GET /console/dead-letters/archive` and `/unarchive`: what was selected in a list."""

    model_config = ConfigDict(extra="ignore")  # the list's own button comes along

    id: Annotated[list[UUID], Field(min_length=1, max_length=PAGE)]


@dataclass(frozen=True, slots=True)
class Door:
    """Everybody looks; operators act."""

    looking: Looking
    counting: Counting
    acting: Acting

    async def groups(self, request: web.Request) -> web.Response:
        """In how many ways messages failed."""
        query = query_of(request, PageOfGroupsQuery)
        with unavailable_as_retryable():
            groups = in_words_for(request, await self.counting.groups(query.service, query.type))
        shown = groups if query.all else groups[:GROUPS]
        every = str(request.rel_url.update_query({"all": "1"})) if len(shown) < len(groups) else None
        return page(
            request, "groups.html", groups=shown, count=len(groups), every=every, query=query, services=CONSUMERS
        )

    async def listed(self, request: web.Request) -> web.Response:
        """A page of dead letters."""
        query = query_of(request, PageQuery)
        with unavailable_as_retryable():
            rows = await self.looking.listed(query.filter(), PAGE + 1, query.behind)
        following = None
        if len(rows) > PAGE:
            last = rows[PAGE - 1]
            position = written_position(Position(last.last_failed_at, last.id))
            following = str(request.rel_url.update_query({"before": position}))
        return page(
            request,
            "letters.html",
            letters=in_words_for(request, rows[:PAGE]),
            query=query,
            filtered=query.filter().narrows,
            services=CONSUMERS,
            statuses=tuple(Status),
            following=following,
        )

    async def shown(self, request: web.Request) -> web.Response:
        """One dead letter."""
        letter = await self._letter(request)
        return page(request, "letter.html", letter=letter, payload=wording.payload(letter["body"]))

    async def state(self, request: web.Request) -> web.Response:
        """The part of its page that changes while it is being replayed."""
        with unavailable_as_retryable():
            found = await self.looking.standing(path_id(request))
        shown = found if person(request).sees_buyers else discretion.standing(found)
        return page(request, "letter_state.html", letter=shown)

    async def replay(self, request: web.Request) -> web.Response:
        """Send it back."""
        letter_id, who = path_id(request), operator(request)
        asked = checked(ReasonRequest, {"reason": request[FORM_KEY].first("reason").strip()})
        with unavailable_as_retryable():
            await self.acting.replay(letter_id, actor=who.subject, reason=asked.reason)
        return see(f"{PATH}/{letter_id}?said=replayed")

    async def archive_draft(self, request: web.Request) -> web.Response:
        """The page on which somebody says why what is selected goes out of sight, or comes back."""
        operator(request)
        ids = query_of(request, ArchiveQuery).id
        return page(request, "archive.html", ids=ids, verb=request.path.rpartition("/")[2], reason="", refused=None)

    async def archive(self, request: web.Request) -> web.Response:
        """Put out of sight what is settled."""
        return await self._archived(request, self.acting.archive, "archived")

    async def unarchive(self, request: web.Request) -> web.Response:
        """Take out of the archive."""
        return await self._archived(request, self.acting.unarchive, "unarchived")

    async def _archived(self, request: web.Request, act: Callable[..., Awaitable[int]], said: str) -> web.Response:
        who, form = operator(request), request[FORM_KEY]
        ids = form.all("id")
        try:
            asked = checked(ArchiveRequest, {"ids": ids, "reason": form.first("reason").strip()})
            with unavailable_as_retryable():
                await act(asked.ids, actor=who.subject, reason=asked.reason)
        except Refused as error:
            verb, reason = request.path.rpartition("/")[2], form.first("reason")
            return page(request, "archive.html", status=error.status, ids=ids, verb=verb, reason=reason, refused=error)
        back = f"{PATH}/{asked.ids[0]}" if len(asked.ids) == 1 else f"{PATH}/list"
        return see(f"{back}?said={said}")

    async def edit(self, request: web.Request) -> web.Response:
        """The page on which a copy is made."""
        operator(request)
        letter = await self._letter(request)
        return self._edited(request, letter, text=_readable(letter["body"]))

    async def send_copy(self, request: web.Request) -> web.Response:
        """Check the copy, or send it. What is wrong with it is shown beside it."""
        letter_id, who, form = path_id(request), operator(request), request[FORM_KEY]
        text, reason, force = form.first("body"), form.first("reason").strip(), form.first("force") == "1"
        sends = form.first("step") == "send"
        changes: list[Row] | None = None
        try:
            body = _message(text)
            with unavailable_as_retryable():
                if sends:
                    asked = checked(ReasonRequest, {"reason": reason})
                    await self.acting.edit(letter_id, Edit(body, force, who.subject, asked.reason))
                    return see(f"{PATH}/{letter_id}?said=edited")
                changes = await self.acting.preview_edit(letter_id, Edit(body, force, who.subject, reason))
        except Refused as error:
            if error.status == 404:
                raise
            return self._edited(
                request, await self._letter(request), text=text, form=form, refused=error, status=error.status
            )
        return self._edited(request, await self._letter(request), text=text, form=form, changes=changes)

    def _edited(
        self,
        request: web.Request,
        letter: Row,
        *,
        text: str,
        form: Form | None = None,
        changes: list[Row] | None = None,
        refused: Refused | None = None,
        status: int = 200,
    ) -> web.Response:
        given = form or Form()
        return page(
            request,
            "edit.html",
            status=status,
            letter=letter,
            text=text,
            reason=given.first("reason"),
            force=given.first("force") == "1",
            doubtful=refused is not None and refused.code == "outcome_unknown",
            changes=changes,
            refused=refused,
        )

    async def _letter(self, request: web.Request) -> Row:
        with unavailable_as_retryable():
            found = await self.looking.shown(path_id(request))
        return found if person(request).sees_buyers else discretion.letter(found)


def _readable(body: bytes) -> str:
    """A body to be edited: in lines where it is JSON, else as much of it as is text."""
    try:
        return json.dumps(strict_json_loads(body), indent=2, ensure_ascii=False)
    except MalformedJson:
        return body.decode(errors="replace")


def _message(text: str) -> Row:
    try:
        value = strict_json_loads(text.encode())
    except MalformedJson as error:
        raise _no_message(str(error)) from None
    except UnicodeEncodeError:
        raise _no_message("half a character") from None
    if not isinstance(value, dict):
        raise _no_message("a message is an object")
    return value


def _no_message(why: str) -> Refused:
    return Refused("malformed_json", "The copy is no message.", status=422, errors=[FieldError("", why)])


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of dead letters; the fixed names must come before `{id}`."""
    one = f"{PATH}/{ID}"
    return [
        web.get(PATH, door.groups),
        web.get(f"{PATH}/list", door.listed),
        web.get(f"{PATH}/archive", door.archive_draft),
        web.post(f"{PATH}/archive", door.archive),
        web.get(f"{PATH}/unarchive", door.archive_draft),
        web.post(f"{PATH}/unarchive", door.unarchive),
        web.get(one, door.shown),
        web.get(f"{one}/state", door.state),
        web.post(f"{one}/replay", door.replay),
        web.get(f"{one}/edit", door.edit),
        web.post(f"{one}/edit", door.send_copy),
    ]
