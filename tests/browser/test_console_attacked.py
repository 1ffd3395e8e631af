"""The console before an operator while somebody else wants to act through it: by what he wrote into messages, and by
pages of his own that the operator visits."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, BrowserContext, Dialog, Page, Request, expect

from operations.routes.console import bulks, letters, refunds, services, signing_in, stripe_events
from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.browser.test_console import LETTER
from tests.operations.desk import Desk, desk_at
from tests.operations.elsewhere import NAMES, Elsewhere, around
from tests.operations.visitors import SESSION, Visitor
from tests.support.deadline import eventually

pytestmark = [pytest.mark.browser, pytest.mark.servers]

EVIL: Final = (
    "</pre></textarea></title>'\"><script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)>"
    "<a href=javascript:alert(1)>x</a>${alert(1)}{{constructor.constructor('alert(1)')()}}"
)
ATTEMPT: Final = """
    INSERT INTO operations.dead_letter_attempts (dead_letter_id, failed_at, reason, exception_type, exception_message, body)
    VALUES ($1, now(), $2, $2, $2, $3)
"""
AUDIT: Final = """
    INSERT INTO operations.dead_letter_audit (dead_letter_id, action, actor, reason, detail)
    VALUES ($1, $2, $2, $2, jsonb_build_object('changes', jsonb_build_array($2::text)))
"""
SAID: Final = """
    INSERT INTO operations.timeline (message_id, order_ref, type, source, subject, causation_id, time, data)
    VALUES ($1, $2, $3, $3, $3, $3, now(), jsonb_build_object($3::text, $3::text))
"""
BULK: Final = """
    INSERT INTO operations.bulks (id, act, state, state_reason, actor, reason, filter, rate, total, finished_at)
    VALUES ($1, 'replay', $2, $3, $3, $3, jsonb_build_object($3::text, $3::text), 50, 1, $4)
"""
INTENT: Final = {"id": "pi_attacked", "object": "payment_intent"}
KEPT_BACK: Final = 0  # the browser shows the answer to nobody
FOREIGN: Final = "main script, main img, main svg, main iframe, [onerror], [onload], [href^='javascript']"


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk among the services that it asks."""
    folder = tmp_path_factory.mktemp("desk")
    async with desk_at(servers, folder, names=NAMES, mark="t" + secrets.token_hex(4)) as made:
        yield made


@pytest.fixture(scope="module")
async def elsewhere(desk: Desk) -> AsyncIterator[Elsewhere]:
    async with around(desk) as made:
        yield made


async def signed_in(context: BrowserContext, desk: Desk, wrong: list[str]) -> Page:
    """The console before Bea, who is operator and approver; dialogs and errors of scripts are told in `wrong`."""
    page = await context.new_page()

    async def dismiss(dialog: Dialog) -> None:
        wrong.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(desk.deployment.console_url)
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_role("button", name="Bea Brandt").click()
    await expect(page.get_by_role("heading", name="What needs you")).to_be_visible()
    return page


# -- what strangers wrote --------------------------------------------------------------------------------------------


async def poisoned(desk: Desk, elsewhere: Elsewhere) -> list[str]:
    """Something of every kind, each field of it written by a stranger; and the pages that show it."""
    letter, order, bulk = new_id(), f"ord_{new_id().hex}", new_id()
    body = json.dumps({EVIL: EVIL}).encode()
    await desk.owner.execute(LETTER, letter, EVIL, "fulfillment", order, datetime.now(UTC), body)
    await desk.owner.execute(ATTEMPT, letter, EVIL, body)
    await desk.owner.execute(AUDIT, letter, EVIL)
    await desk.owner.execute(SAID, new_id(), order, EVIL)
    await desk.owner.execute(BULK, bulk, "canceled", EVIL, datetime.now(UTC))
    refund = await elsewhere.asked(note=EVIL)
    dispute = await elsewhere.disputed(4200, timedelta(hours=9))
    said = "UPDATE refunds.disputes SET reason = $2, stripe_status = $2, network_reason_code = $2 WHERE id = $1"
    await desk.owner.execute(said, dispute, EVIL)
    given = {"id": f"pi_{secrets.token_hex(12)}", "object": EVIL, "description": EVIL, "metadata": {EVIL: EVIL}}
    event = await elsewhere.delivered(type="payment_intent.succeeded", data={"object": given})
    odd = await elsewhere.delivered(type=EVIL, account=EVIL, api_version=EVIL, data={"object": {"id": EVIL}})
    today, typed = datetime.now(UTC).date().isoformat(), quote(EVIL, safe="")
    return [
        "", "/dead-letters", "/dead-letters/list", f"/dead-letters/{letter}", f"/dead-letters/{letter}/edit",
        f"/dead-letters/{letter}/state", f"/orders/{order}", f"/search?q={order}", "/audit", "/bulks", f"/bulks/{bulk}",
        f"/bulks/new?act=discard&id={letter}", f"/dead-letters/archive?id={letter}", "/refunds", f"/refunds/{refund}",
        "/disputes", f"/disputes/{dispute}", f"/disputes/{dispute}/evidence", "/stripe-events",
        f"/stripe-events/{today}/{event}", f"/stripe-events/{today}/{odd}", "/services", "/attention", "/decisions",
        # What is typed into an address comes back on the page.
        f"/search?q={typed}", f"/dead-letters?type={typed}", f"/dead-letters/list?type={typed}&fingerprint={typed}",
        f"/dead-letters/list?before={typed}", f"/audit?actor={typed}", f"/stripe-events?type={typed}&named={typed}",
        f"/refunds?status={typed}", f"/disputes?status={typed}", f"/bulks/new?act={typed}&service={typed}",
        f"/bulks/new?act=discard&type={typed}", f"/dead-letters/{typed}", f"/{typed}", f"/sign-in?to={typed}",
    ]  # fmt: skip


@pytest.mark.timeout(700)
async def test_what_strangers_wrote_opens_nothing(browser: Browser, desk: Desk, elsewhere: Elsewhere) -> None:
    wrong: list[str] = []
    bea = await signed_in(await browser.new_context(), desk, wrong)
    shown = 0

    for path in await poisoned(desk, elsewhere):
        await bea.goto(desk.deployment.console_url + path)
        await bea.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert await bea.locator(FOREIGN).count() == 0, path
        shown += await bea.get_by_text("alert(1)").count() > 0

    assert shown > 20, "it was there to be read"
    await bea.context.close()
    assert wrong == []


@pytest.mark.timeout(700)
async def test_what_is_typed_into_forms_opens_nothing(browser: Browser, desk: Desk, elsewhere: Elsewhere) -> None:
    """Each form is sent with the attack in every field, and comes back with what is wrong."""
    wrong: list[str] = []
    bea = await signed_in(await browser.new_context(), desk, wrong)
    letter, replayed, bulk = new_id(), new_id(), new_id()
    for one in (letter, replayed):
        await desk.owner.execute(LETTER, one, "order.unheld.v1", "fulfillment", None, datetime.now(UTC), b"{}")
    await desk.owner.execute(BULK, bulk, "paused", "a test", None)
    refund = await elsewhere.asked()
    event = await elsewhere.delivered(type="payment_intent.succeeded", data={"object": INTENT})
    today = datetime.now(UTC).date().isoformat()
    pages = {
        f"/dead-letters/{replayed}": "Replay", f"/dead-letters/{letter}/edit": "Check", f"/refunds/{refund}": "Reject",
        f"/bulks/new?act=discard&id={letter}": "Discard", f"/dead-letters/archive?id={letter}": "Archive",
        f"/bulks/{bulk}": "Resume", f"/stripe-events/{today}/{event}": "Hand to the broker again",
        "/stripe-events/backfill": "Take in what is missing", "/dead-letters/list": "Filter", "/audit": "Filter",
    }  # fmt: skip

    for path, button in pages.items():
        await bea.goto(desk.deployment.console_url + path)
        main = bea.locator("main")
        for field in await main.locator(
            "input:not([type=hidden]):not([type=checkbox]):not([type=radio]), textarea"
        ).all():
            if await field.get_attribute("type") != "date":
                await field.evaluate("(field, text) => { field.value = text }", EVIL)
        await main.get_by_role("button", name=button, exact=True).first.click()
        await bea.wait_for_load_state()
        assert await bea.locator(FOREIGN).count() == 0, path

    await bea.context.close()
    assert wrong == []


# -- what other pages do ---------------------------------------------------------------------------------------------


def acts(**known: str) -> list[str]:
    """The address of every act of the console. An act that is added is among them."""
    doors = [
        *bulks.routes(bulks.Door(None, None)),  # type: ignore[arg-type] # only their addresses are looked at
        *letters.routes(letters.Door(None, None, None)),  # type: ignore[arg-type]
        *refunds.routes(refunds.Door(None, None)),  # type: ignore[arg-type]
        *services.routes(services.Door(None, None, None)),  # type: ignore[arg-type]
        *signing_in.routes(signing_in.Door(None)),  # type: ignore[arg-type]
        *stripe_events.routes(stripe_events.Door(None, None)),  # type: ignore[arg-type]
    ]
    app = web.Application()
    app.add_routes([one for one in doors if one.method == "POST"])
    named = [resource.canonical for resource in app.router.resources()]
    return [
        path.format(**{**known, "id": known["bulk"] if "/bulks/" in path else known["letter"]})
        if "/refunds/" not in path
        else path.format(id=known["refund"], refund_id=known["refund"])
        for path in named
    ]


FIELDS: Final = {
    "reason": "a test", "act": "discard", "rate": "50", "limit": "9", "step": "start", "state": "stopped", "span": "1",
    "dry_run": "0", "amount_minor": "60000", "currency": "usd", "version": "1", "body": "{}", "shown": "1", "typed": "1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answered:
    """What a hostile page was answered, and whether the session went along."""

    status: int
    known: bool


async def attacked(page: Page, site: str, to: str, way: str) -> Answered:
    """Visit the page of a hostile site that asks for `to` at once."""
    ended: asyncio.Future[Request] = asyncio.get_running_loop().create_future()

    def heard(request: Request) -> None:
        if request.url == to and not ended.done():
            ended.set_result(request)

    page.on("requestfinished", heard)
    page.on("requestfailed", heard)
    await page.goto(f"{site}/?to={quote(to, safe='')}&way={way}", wait_until="commit")
    request = await asyncio.wait_for(ended, timeout=30)
    response, headers = await request.response(), await request.all_headers()
    page.remove_listener("requestfinished", heard)
    page.remove_listener("requestfailed", heard)
    return Answered(response.status if response else KEPT_BACK, SESSION in headers.get("cookie", ""))


async def hostile(fields: dict[str, str]) -> TestServer:
    """A site of somebody else's. Its page sends a form to `to` at once; `way` says how."""

    async def page(request: web.Request) -> web.Response:
        inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
        to, way = request.query["to"], request.query["way"]
        form = f'<form method="post" action="{to}">{inputs}</form>'
        script = {
            "form": "document.forms[0].submit()",
            "fetch": f"fetch({json.dumps(to)}, {{method: 'POST', mode: 'no-cors', credentials: 'include', "
            "body: new URLSearchParams(new FormData(document.forms[0]))})",
            "text": f"fetch({json.dumps(to)}, {{method: 'POST', mode: 'no-cors', credentials: 'include', "
            "headers: {'Content-Type': 'text/plain'}, body: new URLSearchParams(new FormData(document.forms[0])).toString()})",
            "get": f"new Image().src = {json.dumps(to)}",
            "frame": f"document.body.append(Object.assign(document.createElement('iframe'), {{src: {json.dumps(to)}}}))",
        }[way]
        return web.Response(text=f"<!doctype html><body>{form}<script>{script}</script>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    return server


@pytest.mark.timeout(700)
async def test_no_other_page_acts_through_the_browser_of_an_operator(
    browser: Browser, desk: Desk, elsewhere: Elsewhere
) -> None:
    """Neither one of another site, for which the browser keeps the session back, nor one of the same host, for which it
    does not; with a form's token that is somebody else's own."""
    wrong: list[str] = []
    context = await browser.new_context()
    bea = await signed_in(context, desk, wrong)
    letter, bulk = new_id(), new_id()
    await desk.owner.execute(LETTER, letter, "order.unheld.v1", "fulfillment", None, datetime.now(UTC), b"{}")
    await desk.owner.execute(BULK, bulk, "paused", "a test", None)
    refund = await elsewhere.asked()
    event = await elsewhere.delivered(type="payment_intent.succeeded", data={"object": INTENT})
    today = datetime.now(UTC).date().isoformat()
    vera = Visitor(desk.deployment, desk.http)
    await vera.sign_in("vera")
    fields = {**FIELDS, "csrf": (await vera.look("/console")).csrf, "id": str(letter)}
    paths = acts(letter=str(letter), bulk=str(bulk), refund=refund, day=today, event_id=event)
    assert len(paths) >= 14
    site = await hostile(fields)
    answers: dict[tuple[str, str, str], Answered] = {}

    # Who comes without a session is told so however he asks.
    for host, ways in (("127.0.0.1", ("form", "fetch", "text", "get")), ("localhost", ("form",))):
        page = await context.new_page()
        for path in paths:
            for way in ways:
                to = desk.deployment.console_url.removesuffix("/console") + path
                answers[host, way, path] = await attacked(page, f"http://{host}:{site.port}", to, way)
        await attacked(page, f"http://{host}:{site.port}", desk.deployment.console_url, "frame")

        async def kept_out(page: Page = page) -> bool:
            return [one.url for one in page.frames[1:]] == ["chrome-error://chromewebdata/"]

        await eventually(kept_out, within_seconds=20, what="the console is in nobody's frame")
        await page.close()
    await site.close()

    posts = {key: one for key, one in answers.items() if key[1] != "get"}
    assert {key: one for key, one in posts.items() if one.status not in (KEPT_BACK, 403)} == {}
    assert {one.status for key, one in posts.items() if key[1] == "form"} == {403}
    known = {host: {one.known for key, one in posts.items() if key[:2] == (host, "form")} for host, _, _ in posts}
    assert known == {"127.0.0.1": {True}, "localhost": {False}}, "of the same host it had the session with it"
    await bea.goto(desk.deployment.console_url)
    await expect(bea.get_by_role("heading", name="What needs you")).to_be_visible()
    for sql, one in (
        ("SELECT status FROM operations.dead_letters WHERE id = $1", letter),
        ("SELECT state FROM operations.bulks WHERE id = $1", bulk),
    ):
        assert await desk.owner.fetchval(sql, one) in ("open", "paused")
    assert await desk.audit([str(letter)]) == []
    assert (await elsewhere.refund(refund))["status"] == "awaiting_approval"
    assert await desk.owner.fetchval("SELECT count(*) FROM operations.dead_letter_audit WHERE bulk_id = $1", bulk) == 0
    assert await desk.owner.fetchval("SELECT count(*) FROM webhook_ingest.resends WHERE event_id = $1", event) == 0
    await context.close()
    assert wrong == []
