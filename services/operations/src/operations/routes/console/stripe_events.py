"""Stripe's events: what came and whether it was published, one of them, and how to get what is missing."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Final

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from operations.handlers.redelivering import Redelivering, Walk
from operations.handlers.signing_in import SigningIn
from operations.model.people import Access
from operations.routes.console import wording
from operations.routes.console.forms import FORM_KEY, Form, checked, query_of, reason_in
from operations.routes.console.pages import following, page, see
from operations.routes.console.people import access, operator
from payments_shared.clock import utc_now
from payments_shared.errors import PaymentsError, Refused
from payments_shared.postgres import unavailable_as_retryable

PATH: Final = "/console/stripe-events"
BACKFILL: Final = f"{PATH}/backfill"
ONE: Final = PATH + r"/{day:\d{4}-\d\d-\d\d}/{event_id:(?:evt|dead)_[A-Za-z0-9_]{1,250}}"
STATES: Final = ("processed", "ignored", "dead")
SPANS: Final = {"1": "an hour", "6": "6 hours", "24": "a day", "72": "3 days", "168": "a week", "720": "30 days"}
STAGES: Final = {"undelivered": "Not delivered by a webhook", "all": "All of Stripe's list"}
EARLIEST: Final = date(2011, 1, 1)  # before Stripe
LATEST: Final = date(2999, 12, 31)
COUNTS: Final = ("seen", "new", "ignored", "dead", "failed")


class EventsQuery(BaseModel):
    """`GET /console/stripe-events`: of today, unless another day is wanted. `cursor`: where the page before ended."""

    model_config = ConfigDict(extra="forbid")

    day: Annotated[date, Field(ge=EARLIEST, le=LATEST)] | None = None
    type: Annotated[str, Field(max_length=255)] | None = None
    state: Annotated[str, Field(pattern=f"^({'|'.join(STATES)})$")] | None = None
    named: Annotated[str, Field(max_length=255)] | None = None
    cursor: Annotated[str, Field(max_length=320)] | None = None


class WalkForm(BaseModel):
    """A walk as the page around it remembers it; `act` is its row of the trail."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime
    dry_run: bool
    cursor: Annotated[str, Field(max_length=300)] | None = None
    act: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    counts: dict[str, Annotated[int, Field(ge=0, lt=10**9)]]

    def walk(self) -> Walk:
        return Walk(self.since, self.dry_run, self.cursor)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a walk is: `counts` by stage and kind; `done`, or what stopped it."""

    walk: Walk
    counts: dict[str, int]
    act: int | None = None
    done: bool = False
    reached: datetime | None = None
    refused: PaymentsError | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Everybody looks; operators hand over again and fill gaps."""

    redelivering: Redelivering
    signing_in: SigningIn

    async def listed(self, request: web.Request) -> web.Response:
        """Events of a day."""
        query = query_of(request, EventsQuery)
        who = await access(request, self.signing_in)
        day = query.day or utc_now().date()
        given = {"day": day.isoformat(), **query.model_dump(exclude_none=True, exclude={"day"})}
        found = await self.redelivering.listed(who, given)
        before = request.rel_url.update_query({"day": (day - timedelta(days=1)).isoformat()}).without_query_params(
            "cursor"
        )
        return page(
            request,
            "events.html",
            events=found.rows,
            day=day.isoformat(),
            query=query,
            states=STATES,
            following=following(request, found.following),
            before=str(before),
        )

    async def shown(self, request: web.Request) -> web.Response:
        """One event."""
        return await self._shown(request, await access(request, self.signing_in))

    async def resend(self, request: web.Request) -> web.Response:
        """Hand it to the broker again."""
        actor = operator(request).subject
        who, form = await access(request, self.signing_in), request[FORM_KEY]
        day, event_id = request.match_info["day"], request.match_info["event_id"]
        try:
            reason = reason_in(form)
            await self.redelivering.resend(who, day, event_id, reason, actor=actor)
        except Refused as error:
            if error.status == 404:
                raise
            return await self._shown(request, who, form=form, refused=error, status=error.status)
        return see(f"{PATH}/{day}/{event_id}?said=resent")

    async def draft(self, request: web.Request) -> web.Response:
        """The page from which Stripe is asked for what is missing."""
        operator(request)
        return _draft(request, Form())

    async def begin(self, request: web.Request) -> web.Response:
        """Begin a walk. The page that is answered goes on with it by itself, step by step."""
        who, form = operator(request), request[FORM_KEY]
        try:
            span = form.first("span")
            if span not in SPANS:
                raise Refused("validation_failed", "Say since when.", status=422)
            since = utc_now().replace(microsecond=0) - timedelta(hours=int(span))
            walk, act = Walk(since, dry_run=form.first("dry_run") == "1"), None
            if not walk.dry_run:
                reason = reason_in(form)
                with unavailable_as_retryable():
                    act = await self.redelivering.begin(walk, actor=who.subject, reason=reason)
        except Refused as error:
            return _draft(request, form, refused=error, status=error.status)
        return _progress(request, Progress(walk, _counts(Form()), act))

    async def progress(self, request: web.Request) -> web.Response:
        """One step of a walk, under the name of who looks on. What goes wrong is said beside what was reached."""
        person, form = operator(request), request[FORM_KEY]
        given = {
            "since": form.first("since"),
            "dry_run": form.first("dry_run") == "1",
            "cursor": form.first("cursor") or None,
            "act": form.first("act") or None,
            "counts": _counts(form),
        }
        asked = checked(WalkForm, given)
        counts = dict(asked.counts)
        try:
            step = await self.redelivering.step(await access(request, self.signing_in), asked.walk())
            if step["done"] and asked.act is not None:
                with unavailable_as_retryable():
                    await self.redelivering.finish(asked.act, actor=person.subject)
        except PaymentsError as error:
            return _progress(request, Progress(asked.walk(), counts, asked.act, refused=error))
        for name in COUNTS:
            counts[f"{step['stage']}_{name}"] += step[name]
        walk = Walk(asked.since, asked.dry_run, step["cursor"])
        return _progress(request, Progress(walk, counts, asked.act, step["done"], wording.instant(step["reached"])))

    async def _shown(
        self,
        request: web.Request,
        who: Access,
        *,
        form: Form | None = None,
        refused: Refused | None = None,
        status: int = 200,
    ) -> web.Response:
        event = await self.redelivering.shown(who, request.match_info["day"], request.match_info["event_id"])
        return page(
            request,
            "event.html",
            status=status,
            event=event,
            payload=wording.payload(event["payload"].encode(errors="replace")),
            reason=(form or Form()).first("reason"),
            refused=refused,
        )


def _counts(form: Form) -> dict[str, int]:
    names = [f"{stage}_{name}" for stage in STAGES for name in COUNTS]
    return {name: int(text) if (text := form.first(name)).isdecimal() and len(text) < 10 else 0 for name in names}


def _draft(request: web.Request, form: Form, *, refused: Refused | None = None, status: int = 200) -> web.Response:
    return page(
        request,
        "backfill.html",
        status=status,
        spans=SPANS,
        span=form.first("span") or "6",
        dry_run=form.first("dry_run") == "1",
        reason=form.first("reason"),
        refused=refused,
    )


def _progress(request: web.Request, progress: Progress) -> web.Response:
    template = "backfill_progress.html" if "HX-Request" in request.headers else "backfill_page.html"
    now = utc_now()
    span = max((now - progress.walk.since).total_seconds(), 1.0)
    gone = (progress.reached - progress.walk.since).total_seconds() if progress.reached else 0.0
    return page(
        request,
        template,
        progress=progress,
        stages=STAGES,
        kinds=COUNTS,
        percent=100 if progress.done else int(min(max(gone / span, 0.0), 1.0) * 100),
    )


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of events; the fixed names must come before those of one."""
    return [
        web.get(PATH, door.listed),
        web.get(BACKFILL, door.draft),
        web.post(BACKFILL, door.begin),
        web.post(f"{BACKFILL}/progress", door.progress),
        web.get(ONE, door.shown),
        web.post(f"{ONE}/resend", door.resend),
    ]
