"""A person buys in a real browser: shop, hosted page, mail."""

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from sandbox.shop.catalogue import seed
from tests.support.left_out import left_out
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.browser

# A browser that talks to nobody but us.
FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
INSTALL: Final = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium", "fonts-dejavu-core")


def installed_browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser_path() -> str:
    """A browser, installed through the distribution where we may."""
    if (found := installed_browser()) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (("apt-get", "update", "-q"), INSTALL):
            subprocess.run(command, env=environment, capture_output=True, check=False, timeout=600)
        found = installed_browser()
    return found or left_out("Chromium; run: sudo apt-get install -y chromium")


@pytest_asyncio.fixture(loop_scope="session")
async def browser(browser_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, shopper: Shopper) -> AsyncIterator[Page]:
    """The shop's first page; errors of its scripts and what its policy blocked fail the test."""
    deployment = shopper.deployment
    await seed(
        checkout_url=deployment.internal_url("checkout"),
        inventory_url=deployment.internal_url("inventory"),
        token=lambda: deployment.keys.token("admin-1", "admin"),
    )
    opened = await browser.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    await opened.goto(deployment.shop_url)
    yield opened
    await opened.close()
    assert wrong == []


async def pay(page: Page, card: str) -> None:
    await page.get_by_label("Card number").fill(card)
    await page.get_by_role("button", name="Pay").click()


@pytest.mark.timeout(700)
async def test_a_purchase_from_the_shelf_to_the_mail(page: Page, shopper: Shopper) -> None:
    await page.get_by_role("button", name="Add Clay mug to the cart").click()
    await page.get_by_role("link", name="Cart").click()
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Coupon").fill("WELCOME10")
    await page.get_by_role("button", name="Go to payment").click()

    await pay(page, "4000000000000002")
    await expect(page.get_by_text("Your card was declined")).to_be_visible()
    await pay(page, "4242424242424242")

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    await expect(page.get_by_role("status")).to_contain_text("paid")
    await expect(page.get_by_role("row", name="Total")).to_contain_text("$16.20")
    order_id = await page.locator("code").first.inner_text()
    (mail,) = await eventually(
        lambda: shopper.mails({"order_id": order_id}, "order_confirmation"), what="the mail of the purchase"
    )
    await page.goto(f"{shopper.deployment.mailbox_url}/mail/{mail['id']}")
    await expect(page.frame_locator("iframe").get_by_text("$16.20").first).to_be_visible()


@pytest.mark.timeout(700)
async def test_what_is_wrong_is_said_beside_its_field_and_the_cart_is_kept(page: Page, shopper: Shopper) -> None:
    await page.get_by_role("button", name="Add Brass pen to the cart").click()
    await page.get_by_role("link", name="Cart").click()
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_text("Please give an e-mail address")).to_be_visible()

    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Coupon").fill("SUMMER24")
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_label("Coupon")).to_have_attribute("aria-invalid", "true")

    await page.get_by_label("Coupon").fill("")
    await page.get_by_label("Quantity of Brass pen").fill("50")
    await page.get_by_role("button", name="Update Brass pen").click()
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_text("Only 3 left")).to_be_visible()

    await page.get_by_label("Quantity of Brass pen").fill("1")
    await page.get_by_role("button", name="Update Brass pen").click()
    await page.get_by_role("button", name="Go to payment").click()
    await page.get_by_role("link", name="Back to the shop").click()
    await expect(page).to_have_url(re.compile(r"/shop/cart\?order_id=ord_"))
    await expect(page.get_by_label("Quantity of Brass pen")).to_have_value("1")


@pytest.mark.timeout(700)
async def test_the_bank_asks_and_the_buyer_confirms(page: Page) -> None:
    await page.get_by_role("button", name="Add Grid notebook to the cart").click()
    await page.get_by_role("link", name="Cart").click()
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_role("button", name="Go to payment").click()
    await pay(page, "4000002500003155")

    await expect(page.get_by_text("Your bank asks you to confirm")).to_be_visible()
    await page.get_by_role("button", name="Complete").click()

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)


@pytest.mark.timeout(700)
async def test_an_order_goes_its_way_before_the_buyers_eyes(page: Page, shopper: Shopper) -> None:
    await page.get_by_role("button", name="Add Fern pot to the cart").click()
    await page.get_by_role("link", name="Cart").click()
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_role("button", name="Go to payment").click()
    await pay(page, "4242424242424242")
    await expect(page.get_by_text("Packed")).to_have_attribute("aria-current", "step", timeout=20_000)
    order_id = await page.locator("code").first.inner_text()
    listed = await shopper.admin("GET", "fulfillment", f"/admin/shipments?order_id={order_id}")
    shipment = listed.body["shipments"][0]["id"]
    loads: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))

    parcel = {"carrier": "post", "tracking_number": "T1"}
    await shopper.admin("POST", "fulfillment", f"/admin/shipments/{shipment}/ship", parcel)
    await expect(page.get_by_text("Shipped")).to_have_attribute("aria-current", "step", timeout=20_000)
    await shopper.admin("POST", "fulfillment", f"/admin/shipments/{shipment}/deliver", {})

    await expect(page.get_by_text("Delivered")).to_have_attribute("aria-current", "step", timeout=20_000)
    assert loads == [], "the page is the same, only its words changed"


@pytest.mark.timeout(700)
async def test_everything_works_without_scripts(browser: Browser, page: Page) -> None:
    context = await browser.new_context(java_script_enabled=False)
    plain = await context.new_page()
    await plain.goto(page.url)
    await plain.get_by_role("button", name="EUR").click()
    await plain.get_by_role("button", name="Add Canvas tote to the cart").click()
    await plain.get_by_role("link", name="Cart").click()
    await plain.get_by_label("E-mail").fill("ada@example.com")
    await plain.get_by_label("E-mail").press("Enter")
    await pay(plain, "4242424242424242")

    await expect(plain.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    await expect(plain.get_by_role("row", name="Total")).to_contain_text("€21.00")
    await context.close()
