"""An operator before the console: a flood of three kinds is told apart, explained, and mended kind by kind."""

import contextlib
import json
import re
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Dialog, Locator, Page, Route, expect

from payments_shared.contracts.catalog import SERVICES
from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.browser.paying import DEVICES, pictured
from tests.operations.desk import Desk, desk_at, spoiled, unheld
from tests.operations.test_editing import misspelt
from tests.support import axe
from tests.support.left_out import left_out
from tests.support.npm import Unavailable

pytestmark = [pytest.mark.browser, pytest.mark.servers, pytest.mark.node]

SCHEMES: Final[tuple[Literal["dark", "light"], ...]] = ("dark", "light")
WHOLE: Final = {"phone": "dark", "desktop": "light"}
"""In which scheme a page is judged by all rules on a device."""
ILLEGIBLE: Final = """<!doctype html><html lang="en"><title>Illegible</title><style>
    body {{ background: #fff; color: #000 }}
    @media (prefers-color-scheme: dark) {{ body {{ background: #000; color: #fff }} }}
    @media ({size}) and (prefers-color-scheme: {scheme}) {{ p {{ color: {color} }} }}
    </style><main><h1>Illegible</h1><p>Nobody can read this.</p></main></html>"""
PART_OF_60: Final = re.compile(r"^([1-9]|[1-5][0-9]) of 60 have ended")
LETTER: Final = """
    INSERT INTO operations.dead_letters (id, message_id, service, queue, type, correlation_id, reason, fingerprint,
        exception_type, exception_message, handler, stack, first_failed_at, last_failed_at, headers, body)
    VALUES ($1, $2, $3, $3, $2, $4, $2, $2, $2, $2, $2, $2, $5, $5, jsonb_build_object($2::text, $2::text), $6)
"""
STORY: Final = """
    INSERT INTO operations.timeline (message_id, order_ref, type, source, subject, causation_id, time, data)
    VALUES ($1, $2, $3, $4, $2, $5, now() - interval '1 min' + make_interval(secs => $6), $7::text::jsonb)
"""


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk with an identity provider beside it, and with all services, so that Home is as an operator sees it."""
    names, folder = ("identity", "stripe", "mailbox", *SERVICES), tmp_path_factory.mktemp("desk")
    async with desk_at(servers, folder, names=names, mark="t" + secrets.token_hex(4)) as made:
        yield made


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core."""
    try:
        return axe.script(tmp_path_factory.mktemp("axe"))
    except Unavailable as error:
        left_out(str(error))


@pytest_asyncio.fixture(loop_scope="session")
async def console(browser: Browser, desk: Desk) -> AsyncIterator[Page]:
    """The console before an operator who came in as people do. Dialogs, errors of scripts, and whatever the pages'
    policy had to stop, fail the test."""
    context = await browser.new_context()
    page = await context.new_page()
    wrong: list[str] = []

    def heard(text: str) -> None:
        if "Content Security Policy" in text:
            wrong.append(text)

    async def dismiss(dialog: Dialog) -> None:
        wrong.append(f"a dialog: {dialog}")
        await dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: heard(said.text))
    await page.goto(desk.deployment.console_url)
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_role("button", name="Olga Orlova").click()
    await expect(page.get_by_role("heading", name="What needs you")).to_be_visible()
    yield page
    await context.close()
    assert wrong == []


async def faultless(page: Page, judge: str, name: str) -> None:
    """No serious fault by night on a phone, nor by day on a desk; the other way round only colors can differ."""
    for device, size in DEVICES:
        await page.set_viewport_size(size)  # type: ignore[arg-type] # a TypedDict of the library
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            rules = () if scheme == WHOLE[device] else axe.COLORS
            assert await axe.serious_faults(page, judge, *rules) == [], f"{name}, {device}, {scheme}"


@pytest.mark.parametrize(
    ("size", "scheme", "color"), [("max-width: 46rem", "light", "#eee"), ("min-width: 46rem", "dark", "#222")]
)
async def test_what_nobody_can_read_in_one_scheme_on_one_device_would_be_noticed(
    browser: Browser, judge: str, size: str, scheme: str, color: str
) -> None:
    page = await browser.new_page()
    try:
        await page.set_content(ILLEGIBLE.format(size="max-width: 1px", scheme=scheme, color=color))
        await faultless(page, judge, "legible")
        await page.goto("about:blank")
        await page.set_content(ILLEGIBLE.format(size=size, scheme=scheme, color=color))

        with pytest.raises(AssertionError, match=rf"illegible, .*, {scheme}\n.*color-contr"):
            await faultless(page, judge, "illegible")
    finally:
        await page.close()


async def judged(page: Page, judge: str, name: str) -> None:
    """No serious fault; nothing reaches beyond the page's edge."""
    await faultless(page, judge, name)
    await pictured(page, f"console-{name}")


@contextlib.asynccontextmanager
async def refused(desk: Desk) -> AsyncIterator[None]:
    """Fulfillment's inbox takes nothing: a deployment gone wrong left a trigger there."""
    await desk.owner.execute(
        "CREATE TRIGGER left_behind BEFORE INSERT ON fulfillment.inbox "
        "FOR EACH STATEMENT EXECUTE FUNCTION operations.refuse_change()"
    )
    try:
        yield
    finally:
        await desk.owner.execute("DROP TRIGGER left_behind ON fulfillment.inbox")


async def told_apart(console: Page, desk: Desk, judge: str) -> Locator:
    """The flood is three lines, each with its cause; the line of those that the inbox refuses."""
    await console.goto(desk.deployment.console_url)
    await expect(console.get_by_role("row", name="fulfillment").first).to_contain_text("120")
    await expect(console.get_by_text("No refund waits for approval")).to_be_visible(timeout=90_000)
    await expect(console.get_by_text("ready", exact=True)).to_have_count(len(SERVICES), timeout=60_000)
    await judged(console, judge, "home")
    await console.get_by_role("link", name="fulfillment").first.click()
    await expect(console.get_by_role("heading", name="Dead letters")).to_be_visible()
    lines = await console.locator("tbody tr").all_inner_texts()
    assert len(lines) == 3, lines
    broken = console.get_by_role("row").filter(has_text="InsufficientPrivilegeError")
    await expect(broken).to_contain_text("inbox is append-only")
    await expect(broken).to_contain_text("60")
    await judged(console, judge, "groups")
    await broken.get_by_role("link", name="order.unheld.v1", exact=True).click()
    await expect(console.locator("tbody tr")).to_have_count(50)  # the first page
    await faultless(console, judge, "letters")
    await console.locator("tbody tr").first.get_by_role("link").first.click()
    await console.get_by_text("Stack", exact=True).click()
    await expect(console.get_by_text("InsufficientPrivilegeError").last).to_be_visible()
    return broken


@pytest.mark.timeout(700)
async def test_a_flood_of_three_kinds_is_mended_kind_by_kind(console: Page, desk: Desk, judge: str) -> None:
    fit, misspelled, nonsense = [unheld() for _ in range(60)], misspelt(), [spoiled() for _ in range(59)]
    await desk.hand([misspelled])  # notifications hears of held orders, too, and would fail as well
    await desk.say(nonsense)
    (typo,), noise = await desk.kept([misspelled]), await desk.kept(nonsense)
    async with refused(desk):
        await desk.say(fit)
        shelved = await desk.kept(fit)
        broken = await told_apart(console, desk, judge)

    # Mended, one kind goes back, and is seen to.
    await console.goto(f"{desk.deployment.console_url}/dead-letters")
    await broken.get_by_role("link", name="Replay").click()
    await expect(console.get_by_text("It takes 60 messages")).to_be_visible()
    await console.get_by_label("Reason").fill("the trigger is gone")
    await console.get_by_label("Rate").fill("10")
    await console.get_by_label("Type 60 to confirm").fill("60")
    await judged(console, judge, "bulk-new")
    asked: list[str] = []
    console.on("request", lambda sent: asked.append(sent.url) if "/progress" in sent.url else None)
    await console.get_by_role("button", name="Start the replay").click()
    await expect(console.get_by_text(PART_OF_60)).to_be_visible(timeout=30_000)
    await console.get_by_label("Reason").fill("is it well?")
    await console.get_by_role("button", name="Pause").click()
    await expect(console.locator("#progress .badge")).to_have_text("paused")
    await console.get_by_label("Reason").fill("it is")
    await judged(console, judge, "bulk-paused")
    await console.get_by_role("button", name="Resume").click()
    await expect(console.get_by_text("60 of 60 have ended")).to_be_visible(timeout=60_000)
    await expect(console.locator("#progress .badge")).to_have_text("done", timeout=30_000)
    assert asked, "the page followed by itself"
    await expect(console.get_by_role("button", name="Pause")).to_have_count(0)
    await judged(console, judge, "bulk")
    assert (await desk.statuses(shelved))["resolved"] == 60

    # One is corrected.
    await console.goto(f"{desk.deployment.console_url}/dead-letters/{typo}")
    await expect(console.get_by_text("amuont_mismatch").first).to_be_visible()
    await judged(console, judge, "letter")
    await console.get_by_role("link", name="Edit a copy").click()
    text = await console.get_by_label("The whole message").input_value()
    await console.get_by_label("Reason", exact=True).fill("misspelt")
    await console.get_by_label("The whole message").fill(text.replace("amuont_mismatch", "no such reason"))
    await console.get_by_role("button", name="Send the copy").click()
    await expect(console.get_by_role("alert").filter(has_text="/data/reason")).to_be_visible()
    await judged(console, judge, "edit-refused")
    await console.get_by_label("The whole message").fill(text.replace("amuont_mismatch", "amount_mismatch"))
    await console.get_by_role("button", name="Check").click()
    await expect(console.get_by_text("The copy may go.")).to_be_visible()
    await judged(console, judge, "edit")
    await console.get_by_role("button", name="Send the copy").click()
    await expect(console.get_by_text("It took effect")).to_be_visible(timeout=30_000)

    # One kind is worth nothing.
    await console.get_by_role("link", name="Dead letters").first.click()
    await console.get_by_role("link", name="Discard the group").click()
    await console.get_by_label("Reason").fill("a test sent them")
    await console.get_by_label("Type 59 to confirm").fill("59")
    await console.get_by_role("button", name="Discard").click()
    await expect(console.get_by_text("59 of 59 have ended")).to_be_visible(timeout=60_000)
    assert (await desk.statuses(noise))["discarded"] == 59

    # What is settled goes out of sight.
    await console.goto(f"{desk.deployment.console_url}/dead-letters/list?service=fulfillment&status=discarded")
    await console.get_by_role("button", name="Archive all that match").click()
    await expect(console.get_by_text("It takes 59 messages")).to_be_visible()
    await console.get_by_label("Reason").fill("all is well")
    await console.get_by_label("Type 59 to confirm").fill("59")
    await judged(console, judge, "archive-new")
    await console.get_by_role("button", name="Archive", exact=True).click()
    await expect(console.get_by_text("59 of 59 have ended")).to_be_visible(timeout=60_000)
    await console.get_by_role("navigation").get_by_role("link", name="Dead letters").click()
    await expect(console.get_by_text("No dead letter waits for anybody.")).to_be_visible()
    await faultless(console, judge, "no groups")
    await console.get_by_role("link", name="Bulks").click()
    await expect(console.locator("tbody tr")).to_have_count(3)
    await judged(console, judge, "bulks")
    for path in (f"dead-letters/archive?id={typo}", "dead-letters/nowhere", "search?q=nothing", "orders/ord_1"):
        await console.goto(f"{desk.deployment.console_url}/{path}")
        await faultless(console, judge, path)
    await console.get_by_role("link", name="Audit").click()
    await expect(console.get_by_text("the trigger is gone")).to_be_visible()
    await judged(console, judge, "audit")
    await console.get_by_role("button", name="Sign out").click()
    await expect(console.get_by_role("link", name="Sign in")).to_be_visible()
    await judged(console, judge, "sign-in")


@pytest.mark.timeout(700)
async def test_the_story_of_an_order_leads_from_each_line_to_its_cause(console: Page, desk: Desk, judge: str) -> None:
    order, intent = f"ord_{new_id().hex}", f"pi_{secrets.token_hex(12)}"
    placed, told, paid, committed, created = (new_id() for _ in range(5))
    said = (
        (placed, "checkout", "order.placed.v1", None, {"order_id": order}),
        (told, "webhook-ingest", "stripe.checkout.session.completed", None, {"object_id": "cs_test_1"}),
        (paid, "checkout", "order.paid.v1", told, {"order_id": order, "payments": [{"payment_intent": intent}]}),
        (committed, "inventory", "stock.committed.v1", paid, {"order_id": order, "lines": [{"sku": "MUG-CLAY"}]}),
        (created, "fulfillment", "shipment.created.v1", committed, {"order_id": order}),
    )
    for position, (message_id, service, type_, cause, data) in enumerate(said):
        known = (message_id, order, type_, f"payments/{service}", str(cause) if cause else None)
        await desk.owner.execute(STORY, *known, float(position), json.dumps(data))
    letter, message = new_id(), "the template has no such field"
    await desk.owner.execute(LETTER, letter, message, "notifications", order, datetime.now(UTC), b"{}")
    await desk.owner.execute("UPDATE operations.dead_letters SET type = 'order.paid.v1' WHERE id = $1", letter)

    await console.get_by_role("searchbox").fill(intent)
    await console.get_by_role("button", name="Search").click()
    await judged(console, judge, "search")
    await console.get_by_role("link", name=order).first.click()

    await expect(console.locator(".story > li")).to_have_count(6)
    await expect(console.locator(f"#message-{committed}")).to_contain_text("because of order.paid.v1")
    await expect(console.get_by_text("1 message about this order could not be handled")).to_be_visible()
    await judged(console, judge, "order")
    await console.locator(f"#message-{committed}").get_by_role("link", name="order.paid.v1").click()
    assert console.url.endswith(f"#message-{paid}")


@pytest.mark.timeout(700)
async def test_a_part_that_fails_says_so_until_it_comes_again(console: Page, desk: Desk) -> None:
    async def away(route: Route) -> None:
        await route.fulfill(status=503)

    parts = re.compile(r"/console/(attention|services)$")
    trouble = console.get_by_text("The console does not answer")
    await expect(trouble).to_be_hidden()
    await console.route(parts, away)
    await console.goto(desk.deployment.console_url)
    await expect(trouble).to_be_visible(timeout=30_000)
    await console.unroute(parts, away)
    await expect(trouble).to_be_hidden(timeout=30_000)


@pytest.mark.timeout(700)
async def test_all_on_a_page_are_those_that_may_go_by_number(console: Page, desk: Desk) -> None:
    name, letter, forged = secrets.token_hex(8), new_id(), new_id()
    for one in (letter, forged):
        await desk.owner.execute(LETTER, one, name, "fulfillment", None, datetime.now(UTC), b"{}")
    await desk.owner.execute("UPDATE operations.dead_letters SET reason = 'forged' WHERE id = $1", forged)

    await console.goto(f"{desk.deployment.console_url}/dead-letters/list?type={name}")
    await console.get_by_label("All on this page").check()

    await expect(console.locator(f"input[value='{letter}']")).to_be_checked()
    await expect(console.locator(f"input[value='{forged}']")).not_to_be_checked()
    await expect(console.get_by_text("1 selected")).to_be_visible()
    await console.locator(f"input[value='{forged}']").check()
    await expect(console.get_by_text("2 selected")).to_be_visible()


@pytest.mark.timeout(700)
async def test_boxes_that_a_browser_restores_are_counted(console: Page, desk: Desk) -> None:
    name, letter = secrets.token_hex(8), new_id()
    await desk.owner.execute(LETTER, letter, name, "fulfillment", None, datetime.now(UTC), b"{}")
    box = f'<input type="checkbox" name="id" value="{letter}"'

    async def restored(route: Route) -> None:
        answer = await route.fetch()
        text = await answer.text()
        assert box in text
        await route.fulfill(response=answer, body=text.replace(box, f"{box} checked"))

    await console.route(f"**/dead-letters/list?type={name}", restored)
    await console.goto(f"{desk.deployment.console_url}/dead-letters/list?type={name}")

    await expect(console.get_by_text("1 selected")).to_be_visible()
    await expect(console.get_by_label("All on this page")).to_be_checked()


@pytest.mark.timeout(700)
async def test_everything_is_reached_by_keys_and_works_without_scripts(
    browser: Browser, console: Page, desk: Desk
) -> None:
    (letter,) = await desk.fail([unheld()])
    await console.goto(desk.deployment.console_url)
    await console.keyboard.press("Tab")
    await expect(console.get_by_role("link", name="Skip to the content")).to_be_focused()
    await console.keyboard.press("Enter")
    await expect(console.locator("main")).to_be_focused()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    await console.keyboard.press("Tab")
    assert await console.evaluate(outline) == "solid", "one sees where one is"

    plain = await browser.new_context(java_script_enabled=False)
    await plain.add_cookies(await console.context.cookies())  # type: ignore[arg-type] # the same shape
    page = await plain.new_page()
    await page.goto(f"{desk.deployment.console_url}/dead-letters/list?service=fulfillment&status=open")
    await page.locator(f"input[value='{letter}']").check()
    await page.get_by_role("button", name="Replay selected").click()
    await page.get_by_label("Reason").fill("without scripts")
    await page.get_by_role("button", name="Start the replay").click()
    await expect(page.get_by_role("status")).to_have_text("The bulk was started.")
    await plain.close()
    await desk.until_letter(letter, "resolved")
