"""The order's page is told of changes, and asks only where nobody tells it."""

import re
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from tests.browser.paying import add, pay
from tests.support.shopping import Shopper

pytestmark = pytest.mark.browser
ASKED = re.compile(r"/shop/orders/ord_[0-9a-f]{32}$")
TICKET = re.compile(r"/shop/orders/ord_[0-9a-f]{32}/ticket$")
STREAM = re.compile(r"/api/payments/orders/ord_[0-9a-f]{32}/events\?ticket=")


@pytest_asyncio.fixture(loop_scope="session")
async def deaf(shopper: Shopper) -> AsyncIterator[None]:
    """Stripe's events are lost on their way, until `told`."""
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    yield
    await told(shopper)


async def told(shopper: Shopper) -> None:
    await shopper.stripe("POST", "/_sim/chaos", {})
    for event in (await shopper.stripe("GET", "/_sim/truth"))["events"]:
        if not event["delivered"]:
            await shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 1})


async def paid_unheard(page: Page) -> None:
    """Buy something of which the platform has not heard yet that it is paid."""
    await add(page, "Clay mug")
    await page.get_by_label("E-mail").fill(f"{secrets.token_hex(5)}@example.com")
    await page.get_by_role("button", name="Go to payment").click()
    await pay(page, "4242424242424242")
    await expect(page.get_by_role("heading", name="Your payment is being confirmed")).to_be_visible()


@pytest.mark.timeout(700)
async def test_while_money_is_awaited_the_page_is_told_and_does_not_ask(
    page: Page, shopper: Shopper, deaf: None
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if ASKED.search(request.url) else None)
    await page.clock.install()
    async with page.expect_request(STREAM):
        await paid_unheard(page)
    await page.clock.run_for(30_000)  # thirty seconds pass for the page's script
    before = len(asked)

    await told(shopper)
    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)

    assert before <= 1, "what the stream shows first is looked at once"


@pytest.mark.timeout(700)
@pytest.mark.parametrize("what", [TICKET, STREAM], ids=["no ticket", "no stream"])
async def test_where_the_stream_fails_the_page_asks(
    page: Page, shopper: Shopper, deaf: None, what: "re.Pattern[str]"
) -> None:
    async def fail(route: Route) -> None:
        await route.abort()

    await page.route(what, fail)
    await paid_unheard(page)

    await told(shopper)

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
