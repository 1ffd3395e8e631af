"""What browsers send, before any database is asked: odd addresses, cookies and forms, and what starts a bulk."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pydantic import ValidationError

from operations.decide import signing_in as decide
from operations.handlers.agreeing import Seen
from operations.handlers.looking import NEWEST_ACT
from operations.model.bulks import Instruction
from operations.model.letters import Filter, Status
from operations.model.people import Person, Role
from operations.model.trail import Sought
from operations.routes.console import audit, bulks, pages, refunds, signing_in, stripe_events
from operations.routes.console.forms import FORM_KEY, Form, read_form, read_position
from operations.routes.console.guard import PARTS, SESSION, Guard
from operations.routes.console.letters import PageQuery
from operations.routes.console.people import AccessEnded
from operations.routes.wishes import BulkRequest
from payments_shared.errors import Refused, Retryable

ORIGIN = "https://console.example"
TOKEN, OTHER = "ab" * 32, "cd" * 32
OLGA = Person("olga", "Olga", frozenset({Role.OPERATOR}))
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


class Sessions:
    """Everybody's session is that of an operator, and what was asked is kept."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left: list[str] = []

    async def person(self, token: str) -> Person:
        self.asked.append(token)
        return OLGA

    async def present(self, token: str) -> None:
        self.asked.append(token)

    async def finish(self, _: str, **__: Any) -> str:
        return OTHER

    async def leave(self, token: str) -> None:
        self.left.append(token)


class Acting:
    """Twelve messages match, and every bulk starts."""

    def __init__(self, taken: int = 12) -> None:
        self.taken = taken
        self.started: list[Instruction] = []

    async def preview(self, asked: Instruction) -> Mapping[str, Any]:
        return {"matching": self.taken, "taken": min(self.taken, asked.limit), "ids": []}

    async def start(self, asked: Instruction) -> str:
        self.started.append(asked)
        return ID


def request(path: str, method: str = "GET", cookie: str | None = None, **headers: str) -> web.Request:
    app = web.Application()
    pages.prepare(app)
    given = {**headers, **({"Cookie": f"{SESSION}={cookie}"} if cookie is not None else {})}
    return make_mocked_request(method, path, headers=given, app=app)


async def guarded(sessions: Sessions, asked: web.Request) -> web.StreamResponse:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="the page")

    guard: Any = Guard(sessions, ORIGIN).middleware()  # type: ignore[arg-type] # what is asked of it is there
    response: web.StreamResponse = await guard(asked, page)
    return response


async def start(acting: Acting, **fields: str) -> web.Response:
    given = {"act": "discard", "service": "checkout", "rate": "50", "limit": "10000", **fields}
    asked = request("/console/bulks/new", "POST")
    asked[pages.PERSON], asked[pages.TOKEN] = OLGA, TOKEN
    asked[FORM_KEY] = Form(list(given.items()))
    return await bulks.Door(None, acting).start(asked)  # type: ignore[arg-type] # what is asked of them is there


# -- odd requests ----------------------------------------------------------------------------------------------------


async def test_a_cookie_that_we_never_gave_is_nobodys() -> None:
    sessions = Sessions()

    for cookie in ("x", "AB" * 32, TOKEN + "0", '"\\377"'):
        assert (await guarded(sessions, request("/console", cookie=cookie))).status == 303
    assert sessions.asked == []
    assert (await guarded(sessions, request("/console", cookie=TOKEN))).status == 200


async def test_a_part_of_a_page_at_no_address_leads_to_the_first_page() -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "https://[console/console/audit"}

    response = await guarded(Sessions(), request("/console/services", **headers))

    assert (response.status, response.headers["HX-Redirect"]) == (401, "/console/sign-in?to=%2Fconsole")


@pytest.mark.parametrize("path", ["/console/search?q=a%00b", "/console/audit?a%00=b", "/console/orders/%00"])
async def test_an_address_with_a_nul_is_refused(path: str) -> None:
    assert (await guarded(Sessions(), request(path, cookie=TOKEN))).status == 400


@pytest.mark.parametrize("fields", [{"reason": "a\x00b"}, {"a\x00": "b"}])
async def test_a_form_with_a_nul_is_refused(fields: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(_: web.Request) -> bytes:
        return urlencode(fields).encode()

    monkeypatch.setattr("operations.routes.console.forms.read_bytes", body)
    asked = request("/console", "POST", **{"Content-Type": "application/x-www-form-urlencoded"})

    with pytest.raises(Refused) as refused:
        await read_form(asked)

    assert refused.value.status == 400


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00", "x"])
def test_a_place_in_a_list_that_cannot_be_is_refused(at: str) -> None:
    with pytest.raises(ValueError, match=r"must|format"):
        read_position(f"{at}~{ID}")
    with pytest.raises(ValidationError):
        PageQuery(before=f"{at}~{ID}")


def test_the_trail_is_narrowed_by_who_what_and_since_when() -> None:
    given = {"actor": "olga", "action": "refund_approve", "since": "2026-08-26"}

    sought = audit.TrailQuery.model_validate(given).sought()

    assert sought == Sought(NEWEST_ACT, "olga", "refund_approve", datetime(2026, 8, 26, tzinfo=UTC))
    for odd in ({"action": "nothing"}, {"since": "1999-12-31"}, {"since": "yesterday"}):
        with pytest.raises(ValidationError):
            audit.TrailQuery.model_validate(odd)


def test_the_trail_has_room_for_every_row() -> None:
    for row in ("1", "1000000000", str(NEWEST_ACT)):
        assert audit.TrailQuery.model_validate({"before": row}).before == int(row)
    for odd in ("0", "-1", "1_0", "²", " 1", str(NEWEST_ACT + 1), "9" * 30):
        with pytest.raises(ValidationError):
            audit.TrailQuery.model_validate({"before": odd})


def test_nobody_is_sent_to_an_address_without_end() -> None:
    long = "/console/search?q=" + "a" * 1982

    assert decide.own_path(long) == long
    assert decide.own_path(long + "a") == "/console"


@pytest.mark.parametrize(("cookie", "left"), [(TOKEN, [TOKEN]), ("x", []), (None, [])])
async def test_who_signs_in_again_leaves_the_older_session(cookie: str | None, left: list[str]) -> None:
    sessions = Sessions()
    door = signing_in.Door(sessions)  # type: ignore[arg-type] # what is asked of it is there

    response = await door.finish(request("/console/signed-in?code=c&state=s", cookie=cookie))

    assert response.cookies[SESSION].value == OTHER
    assert sessions.left == left


# -- what is asked of other services ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "headers", "status", "leads_to"),
    [
        ("GET", {}, 303, "/console/sign-in/start?to=%2Fconsole%2Frefunds%3Fstatus%3Dany"),
        (
            "GET",
            {"HX-Request": "true", "HX-Current-URL": "https://console.example/console/services"},
            401,
            "/console/sign-in/start?to=%2Fconsole%2Fservices",
        ),
        ("POST", {}, 401, None),
    ],
)
async def test_whose_token_is_over_is_sent_for_another_unless_he_acts(
    method: str, headers: dict[str, str], status: int, leads_to: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def over(_: web.Request) -> web.StreamResponse:
        raise AccessEnded

    async def form(_: web.Request) -> Form:
        return Form([("csrf", decide.csrf_token(TOKEN))])

    monkeypatch.setattr("operations.routes.console.guard.read_form", form)
    asked = request("/console/refunds?status=any", method, TOKEN, **{"Origin": ORIGIN, **headers})
    guard: Any = Guard(Sessions(), ORIGIN).middleware()  # type: ignore[arg-type] # what is asked of it is there

    response: web.Response = await guard(asked, over)

    assert response.status == status
    assert (response.headers.get("Location") or response.headers.get("HX-Redirect")) == leads_to
    assert leads_to is not None or "Nothing was changed" in str(response.text)


@pytest.mark.parametrize(
    ("method", "said"), [("GET", "Nothing was changed"), ("POST", "It may have been done: look before you do it again")]
)
@pytest.mark.parametrize("error", [Retryable("database_unavailable", "Away."), ConnectionResetError()])
async def test_of_an_act_whose_commit_was_not_answered_nobody_says_that_it_was_not_done(
    method: str, said: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(_: web.Request) -> web.StreamResponse:
        raise error

    async def form(_: web.Request) -> Form:
        return Form([("csrf", decide.csrf_token(TOKEN))])

    monkeypatch.setattr("operations.routes.console.guard.read_form", form)
    asked = request("/console/bulks/new", method, TOKEN, Origin=ORIGIN)
    guard: Any = Guard(Sessions(), ORIGIN).middleware()  # type: ignore[arg-type] # what is asked of it is there

    response: web.Response = await guard(asked, lost)

    assert response.status == 503
    assert said in str(response.text)
    assert ("Nothing was changed" in str(response.text)) == (method == "GET")


@pytest.mark.parametrize("click", [{}, {"HX-Request": "true"}])
async def test_only_what_a_page_asks_for_by_itself_is_nobody(click: dict[str, str]) -> None:
    sessions = Sessions()

    await guarded(sessions, request("/console/services", cookie=TOKEN, **click))

    assert len(sessions.asked) == (1 if click else 2), "who opens the page is there"


def test_whatever_a_page_asks_for_again_and_again_keeps_no_session_awake() -> None:
    folder = resources.files("operations.routes.console").joinpath("templates")
    texts = [page.read_text(encoding="utf-8") for page in folder.iterdir() if page.name.endswith(".html")]
    asked = [
        (path, when) for text in texts for path, when in re.findall(r'hx-get="([^"]+)" hx-trigger="([^"]+)"', text)
    ]
    again = {path.partition("?")[0] for path, when in asked if "every" in when}

    assert len(asked) == sum(text.count("hx-get=") for text in texts)
    assert len(again) > 6
    assert {path for path in again if not path.endswith(PARTS)} == set()


@pytest.mark.parametrize(
    "given",
    [
        {"since": "2026-08-26T12:00:00"},
        {"since": "x"},
        {"cursor": "c" * 301},
        {"counts": {"all_seen": -1}},
        {"counts": {"all_seen": 10**9}},
    ],
)
def test_a_walk_that_cannot_be_is_refused(given: dict[str, Any]) -> None:
    known = {"since": "2026-08-26T12:00:00+00:00", "dry_run": False, "cursor": None, "counts": {"all_seen": 1}}
    stripe_events.WalkForm.model_validate(known)

    with pytest.raises(ValidationError):
        stripe_events.WalkForm.model_validate({**known, **given})


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "2026-13-01", "x"])
def test_a_day_on_which_nothing_can_have_come_is_refused(day: str) -> None:
    stripe_events.EventsQuery.model_validate({"day": "2026-08-26"})
    with pytest.raises(ValidationError):
        stripe_events.EventsQuery.model_validate({"day": day})


@pytest.mark.parametrize(
    "given", [{"amount_minor": "0"}, {"amount_minor": "1.5"}, {"currency": "USD"}, {"version": "0"}, {"version": ""}]
)
def test_an_approval_of_what_cannot_have_been_seen_is_refused(given: dict[str, str]) -> None:
    known = {"amount_minor": "500", "currency": "usd", "version": "1"}
    assert refunds.SeenForm.model_validate(known).seen() == Seen(500, "usd", 1)

    with pytest.raises(ValidationError):
        refunds.SeenForm.model_validate({**known, **given})


# -- what starts a bulk ----------------------------------------------------------------------------------------------


async def test_no_more_go_than_were_shown_and_typed_however_many_fail_meanwhile() -> None:
    acting = Acting(taken=5000)

    response = await start(acting, reason="a test", step="start", shown="4000", typed="4,000")

    assert response.status == 303
    assert [one.limit for one in acting.started] == [4000]


async def test_a_limit_that_was_lowered_after_the_number_was_shown_holds() -> None:
    acting = Acting(taken=5000)

    await start(acting, reason="a test", step="start", shown="4000", typed="4000", limit="20")

    assert [one.limit for one in acting.started] == [20]


@pytest.mark.parametrize(
    ("shown", "typed"),
    [("12", ""), ("12", "11"), ("", ""), ("", "12"), ("0", "0"), ("x", "x"), ("²", "²"), ("-5", "-5"), ("9" * 30,) * 2],
)
async def test_many_do_not_go_unless_the_number_that_was_shown_is_typed(shown: str, typed: str) -> None:
    acting = Acting()

    response = await start(acting, reason="a test", step="start", shown=shown, typed=typed)

    assert (response.status, acting.started) == (422, [])
    assert 'name="shown" value="12"' in str(response.text)


async def test_few_go_without_a_number_and_stay_few() -> None:
    acting = Acting(taken=10)

    assert (await start(acting, reason="a test", step="start")).status == 303
    assert acting.started == [
        Instruction("discard", Filter(service="checkout"), 10, 50.0, force=False, actor="olga", reason="a test")
    ]


async def test_whoever_looks_again_needs_no_reason_yet() -> None:
    acting = Acting()

    response = await start(acting, step="look")

    assert (response.status, acting.started) == (200, [])
    assert "It takes 12 messages" in " ".join(str(response.text).replace("<strong>", "").split())
    assert "validation_failed" not in str(response.text)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("act", ["replay", "discard", "archive"])
def test_all_that_match_are_those_that_an_act_can_take(act: str, status: Status) -> None:
    given = {"act": act, "service": "checkout", "status": status}
    if status in ((Status.RESOLVED, Status.DISCARDED) if act == "archive" else (Status.OPEN,)):
        named = bulks.NewBulkQuery.model_validate(given).given()
        assert named == [*([("status", status)] if act == "archive" else []), ("service", "checkout")]
    else:
        with pytest.raises(ValidationError):
            bulks.NewBulkQuery.model_validate(given)


async def test_many_go_to_the_archive_only_once_their_number_is_typed() -> None:
    acting = Acting()
    given = {"act": "archive", "status": "resolved", "reason": "a test", "step": "start"}

    assert (await start(acting, **given)).status == 422
    assert (await start(acting, **given, shown="12", typed="12")).status == 303

    wanted = Filter(service="checkout", status="resolved")
    assert acting.started == [Instruction("archive", wanted, 12, 50.0, force=False, actor="olga", reason="a test")]


@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        ("replay", {"service": "checkout", "status": "resolved"}),
        ("discard", {"status": "discarded"}),
        ("archive", {"ids": [ID]}),
        ("archive", {"status": "open"}),
        ("burn", {"service": "checkout"}),
    ],
)
def test_an_act_is_not_asked_for_upon_what_it_cannot_take(act: str, wanted: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BulkRequest.model_validate({"act": act, "filter": wanted, "reason": "a test"})
