"""The reference page, as people see it: complete, without script, on a desk and on a phone, by day and by night."""

import os
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser

from payments_shared.http.__main__ import apis
from tests.support.shopping import Shopper

pytestmark = [pytest.mark.browser, pytest.mark.servers]

PATH = "/api/payments/reference"


@pytest.mark.timeout(700)
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_shows_every_public_operation(
    browser: Browser, shopper: Shopper, width: int, scheme: Literal["light", "dark"]
) -> None:
    # The page needs no script, so none may run.
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=False
    )
    page = await context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text))
    page.on("request", lambda sent: wrong.append(sent.url) if not sent.url.endswith((PATH, "/favicon.ico")) else None)

    await page.goto(shopper.deployment.front_door_url + PATH)
    shown = {await article.get_attribute("id") for article in await page.query_selector_all("main article:has(p.call)")}
    link = await page.get_by_role("link", name="The document for programs").get_attribute("href")
    box = await page.locator("main").bounding_box()
    paper = await page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    folder, device = os.environ.get("PAYMENTS_SCREENSHOTS"), "phone" if width < 500 else "desktop"
    if scheme == "light" and folder:
        await page.screenshot(path=Path(folder) / f"reference-{device}.png")  # its beginning: the page is long
    await context.close()

    assert shown == {one.id for section in apis()["checkout"].public for one in section.operations}
    assert link == "/api/payments/openapi.json"
    assert box is not None
    assert box["x"] + box["width"] <= width
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 30)")
    assert wrong == []
