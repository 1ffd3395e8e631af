"""People before the console who decide about what other services keep."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from playwright.async_api import Browser, Page, Route, expect

from sandbox.services.resolver import Servers
from tests.browser.test_console import faultless, judge, judged
from tests.operations.desk import Desk, desk_at, unheld
from tests.operations.elsewhere import NAMES, Elsewhere, around

__all__ = ["judge"]
pytestmark = [pytest.mark.browser, pytest.mark.servers, pytest.mark.node]


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk among the services that it asks."""
    folder = tmp_path_factory.mktemp("desk")
    names = (*NAMES, "fulfillment", "notifications", "mailbox")  # inventory would find no stock and pay back
    async with desk_at(servers, folder, names=names, mark="t" + secrets.token_hex(4)) as made:
        yield made


@pytest.fixture(scope="module")
async def elsewhere(desk: Desk) -> AsyncIterator[Elsewhere]:
    async with around(desk) as made:
        yield made


async def signed_in(browser: Browser, desk: Desk, name: str, wrong: list[str]) -> Page:
    """The console before somebody who came in as people do; what its policy had to stop is told in `wrong`."""
    page = await (await browser.new_context()).new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    await page.goto(desk.deployment.console_url)
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_role("button", name=name).click()
    await expect(page.get_by_role("heading", name="What needs you")).to_be_visible()
    return page


@pytest.mark.timeout(700)
async def test_an_approver_decides_about_refunds_and_sees_what_is_due(
    browser: Browser, desk: Desk, elsewhere: Elsewhere, judge: str
) -> None:
    wrong: list[str] = []
    refund = await elsewhere.asked(74_990, note="The buyer waited for three weeks and wants all of it back.")
    for amount in (61_200, 128_000):
        await elsewhere.asked(amount, who="ivy", note="Damaged on the way.")
    urgent = await elsewhere.disputed(12_900, timedelta(hours=9))
    for amount, days in ((4_500, 4), (23_000, 17)):
        await elsewhere.disputed(amount, timedelta(days=days))
    await desk.fail([unheld() for _ in range(7)], error=RuntimeError("the shelf was locked"))
    amir = await signed_in(browser, desk, "Amir Aziz", wrong)

    await expect(amir.get_by_text("3 refunds wait for approval")).to_be_visible()
    await expect(amir.get_by_text("2 disputes need evidence within a week")).to_be_visible()
    await expect(amir.get_by_text("no answer").first).to_be_visible()  # the services' part has come
    await judged(amir, judge, "decisions")
    await amir.get_by_role("link", name="3 refunds wait for approval").click()
    await expect(amir.locator("tbody tr")).to_have_count(3)
    await judged(amir, judge, "refunds")
    await amir.get_by_role("row", name="749.90 USD").get_by_role("link").first.click()
    await amir.get_by_label("Reason").fill("the carrier confirms it")
    await judged(amir, judge, "refund")
    await amir.get_by_role("button", name="Approve 749.90 USD").click()
    await expect(amir.get_by_text("The refund is approved.")).to_be_visible()
    await expect(amir.get_by_text("the carrier confirms it")).to_be_visible()
    assert (await elsewhere.refund(refund))["decided_by"] == "amir"

    await amir.get_by_role("navigation").get_by_role("link", name="Disputes").click()
    await expect(amir.locator("tbody tr").first).to_contain_text("129.00 USD")
    await judged(amir, judge, "disputes")
    await amir.locator("tbody tr").first.get_by_role("link").first.click()
    assert amir.url.endswith(urgent)
    await expect(amir.get_by_text("Nothing was handed in.")).to_be_visible(timeout=30_000)
    await judged(amir, judge, "dispute")
    async with amir.expect_download() as download:
        await amir.get_by_role("link", name="The document").click()
    assert (await download.value).suggested_filename == f"{urgent}.pdf"
    await amir.context.close()
    assert wrong == []


@pytest.mark.timeout(700)
async def test_an_operator_fills_a_gap_hands_an_event_over_again_and_stops_new_orders(
    browser: Browser, desk: Desk, elsewhere: Elsewhere, judge: str
) -> None:
    wrong: list[str] = []
    for type_ in ("payment_intent.succeeded", "payment_intent.payment_failed", "climate.order.created"):
        given = {"id": f"pi_{secrets.token_hex(12)}", "object": "payment_intent"}
        event_id = await elsewhere.delivered(type=type_, data={"object": given})
    await elsewhere.paid(4200)  # its webhooks reach nobody: there is no front door
    await desk.fail([unheld() for _ in range(4)], error=RuntimeError("the shelf was locked"))
    olga = await signed_in(browser, desk, "Olga Orlova", wrong)

    await olga.goto(f"{desk.deployment.console_url}/dead-letters/list")
    await olga.get_by_role("checkbox").nth(1).check()
    await judged(olga, judge, "letters")
    await olga.get_by_role("navigation").get_by_role("link", name="Stripe").click()
    await expect(olga.get_by_text(event_id)).to_be_visible()
    await judged(olga, judge, "events")
    await olga.get_by_role("link", name="Fill a gap").click()
    await faultless(olga, judge, "backfill, before it starts")
    await olga.get_by_label("Reason").fill("the front door was shut")
    await olga.get_by_role("button", name="Take in what is missing").click()
    await expect(olga.get_by_text("Nothing of Stripe's list is left.")).to_be_visible(timeout=60_000)
    await judged(olga, judge, "backfill")
    await olga.goto(f"{desk.deployment.console_url}/stripe-events?type=payment_intent.succeeded")
    await olga.get_by_role("link", name="payment_intent.succeeded").first.click()
    await olga.get_by_label("Reason").fill("the queue was made anew")
    await judged(olga, judge, "event")
    await olga.get_by_role("button", name="Hand to the broker again").click()
    await expect(olga.get_by_text("The event is handed to the broker again.")).to_be_visible()
    await expect(olga.get_by_role("cell", name="the queue was made anew")).to_be_visible()

    await olga.get_by_role("navigation").get_by_role("link", name="Services").click()
    await expect(olga.get_by_text("no lag").first).to_be_visible(timeout=30_000)
    orders = olga.get_by_role("form", name="New orders")
    await orders.get_by_label("Reason").fill("prices are wrong")
    await orders.get_by_role("button", name="Stop taking new orders").click()
    try:
        await expect(olga.get_by_text("It is done, under your name.")).to_be_visible()
        await expect(olga.get_by_text("somebody stopped them").first).to_be_visible(timeout=30_000)
        await judged(olga, judge, "services")
    finally:
        await orders.get_by_label("Reason").fill("they are right again")
        await orders.get_by_role("button", name="Take new orders again").click()
    await expect(olga.get_by_text("It is open again, under your name.")).to_be_visible()
    await olga.context.close()
    assert wrong == []


@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    ("form", "stop", "go_on", "told"),
    [
        ("Refunds", "Stop giving money back", "Give money back again", "No money goes back: somebody stopped refunds."),
        ("Mails", "Stop sending mails", "Send mails again", "No mails are sent: somebody stopped them."),
    ],
)
async def test_an_operator_stops_refunds_and_mails_and_everybody_is_told(
    browser: Browser, desk: Desk, *, form: str, stop: str, go_on: str, told: str
) -> None:
    wrong: list[str] = []
    olga, vera = [await signed_in(browser, desk, name, wrong) for name in ("Olga Orlova", "Vera Vos")]

    await olga.get_by_role("navigation").get_by_role("link", name="Services").click()
    switch = olga.get_by_role("form", name=form)
    await switch.get_by_label("Reason").fill("what it says is wrong")
    await switch.get_by_role("button", name=stop).click()
    try:
        await expect(olga.get_by_text("It is done, under your name.")).to_be_visible()
        await expect(vera.get_by_text(told)).to_be_visible(timeout=30_000)  # on her first page
        await vera.goto(f"{desk.deployment.console_url}/services")
        await expect(vera.get_by_role("cell", name="what it says is wrong").first).to_be_visible()
        await expect(vera.get_by_role("form", name=form)).to_have_count(0)
    finally:
        await switch.get_by_label("Reason").fill("it is right again")
        await switch.get_by_role("button", name=go_on).click()
    await expect(olga.get_by_text("It is open again, under your name.")).to_be_visible()
    for page in (olga, vera):
        await page.context.close()
    assert wrong == []


@pytest.mark.timeout(700)
async def test_what_one_part_gets_does_not_hide_that_another_gets_nothing(browser: Browser, desk: Desk) -> None:
    wrong: list[str] = []
    vera = await signed_in(browser, desk, "Vera Vos", wrong)

    async def away(route: Route) -> None:
        await route.fulfill(status=503)

    await vera.route("**/console/services", away)
    await vera.goto(desk.deployment.console_url)
    trouble = vera.get_by_text("The console does not answer")
    await expect(trouble).to_be_visible(timeout=30_000)

    async with vera.expect_response("**/console/attention", timeout=30_000):
        pass
    await expect(trouble).to_be_visible()
    await vera.unroute("**/console/services", away)
    await expect(trouble).to_be_hidden(timeout=30_000)
    await vera.context.close()
