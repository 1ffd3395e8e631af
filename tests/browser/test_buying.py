"""A person buys in a real browser: shop, hosted page, mail."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.paying import add, pay, pictured
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.browser


@pytest.mark.timeout(700)
async def test_a_purchase_from_the_shelf_to_the_mail(page: Page, shopper: Shopper) -> None:
    await add(page, "Clay mug")
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Coupon").fill("WELCOME10")
    await page.get_by_role("button", name="Go to payment").click()

    await pay(page, "4000000000000002")
    await expect(page.get_by_text("Your card was declined")).to_be_visible()
    await pictured(page, "pay-declined")
    await pay(page, "4242424242424242")

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    await expect(page.get_by_role("status")).to_contain_text("paid")
    await expect(page.get_by_role("row", name="Total")).to_contain_text("$21.20")
    order_id = await page.locator("code").first.inner_text()
    (mail,) = await eventually(
        lambda: shopper.mails({"order_id": order_id}, "order_confirmation"), what="the mail of the purchase"
    )
    await page.goto(f"{shopper.deployment.mailbox_url}/mail/{mail['id']}")
    await expect(page.frame_locator("iframe").get_by_text("$21.20").first).to_be_visible()
    await page.goto(f"{shopper.deployment.mailbox_url}/mail/{mail['id']}/html")
    await pictured(page, "paid-mail")


@pytest.mark.timeout(700)
async def test_what_is_wrong_is_said_beside_its_field_and_the_cart_is_kept(page: Page, shopper: Shopper) -> None:
    await add(page, "Brass pen")
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_text("Please give an e-mail address")).to_be_visible()

    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Coupon").fill("SUMMER24")
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_label("Coupon")).to_have_attribute("aria-invalid", "true")

    await page.get_by_label("Coupon").fill("")
    await page.get_by_label("Quantity of Brass pen").fill("50")
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_text("Only 3 left")).to_be_visible()
    await pictured(page, "cart-wrong")

    await page.get_by_label("Quantity of Brass pen").fill("1")
    await page.get_by_role("button", name="Go to payment").click()
    await page.get_by_role("link", name="Back to the shop").click()
    await expect(page).to_have_url(re.compile(r"/shop/cart\?order_id=ord_"))
    await expect(page.get_by_label("Quantity of Brass pen")).to_have_value("1")


@pytest.mark.timeout(700)
async def test_the_bank_asks_and_the_buyer_confirms(page: Page) -> None:
    await add(page, "Grid notebook")
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_role("button", name="Go to payment").click()
    await pay(page, "4000002500003155")

    await expect(page.get_by_text("Your bank asks you to confirm")).to_be_visible()
    await page.get_by_role("button", name="Complete").click()

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)


@pytest.mark.timeout(700)
async def test_an_order_goes_its_way_before_the_buyers_eyes(page: Page, shopper: Shopper) -> None:
    await add(page, "Fern pot")
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
    await add(plain, "Canvas tote")
    await plain.get_by_label("Where to send it").select_option("Austria")
    await plain.get_by_label("Express").check()
    await plain.get_by_role("button", name="Update the total").click()
    await expect(plain.get_by_role("row", name="Total")).to_contain_text("€35.00")
    await plain.get_by_label("E-mail").fill("ada@example.com")
    await plain.get_by_label("E-mail").press("Enter")
    await pay(plain, "4242424242424242")

    await expect(plain.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    await expect(plain.get_by_role("row", name="Total")).to_contain_text("€35.00")
    await context.close()
