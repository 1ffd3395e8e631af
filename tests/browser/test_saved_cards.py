"""A customer who saved the card that he paid with pays with it again on the hosted page."""

import secrets

import pytest
from playwright.async_api import Page, expect

from tests.browser.paying import add, pay, pictured
from tests.support.shopping import Shopper

pytestmark = pytest.mark.browser


@pytest.mark.timeout(700)
async def test_a_card_that_was_saved_while_paying_is_offered_and_charged_the_next_time(
    page: Page, shopper: Shopper
) -> None:
    email = f"{secrets.token_hex(5)}@example.com"
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_label("Your e-mail address").fill(email)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("link", name="Kiln").click()
    await add(page, "Clay mug")
    await expect(page.get_by_label("E-mail")).to_have_value(email)
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_role("button", name="Pay with")).to_have_count(0)
    await page.get_by_label("Save for the next time").check()
    await pay(page, "4242424242424242")
    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)

    await page.get_by_role("link", name="Back to the shop").click()
    await add(page, "Grid notebook")
    await page.get_by_role("button", name="Go to payment").click()
    await pictured(page, "pay-saved")
    await page.get_by_role("button", name="Pay with Visa •••• 4242").click()

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    await expect(page.get_by_role("row", name="Total")).to_contain_text("$17.50")
    order_id = await page.locator("code").first.inner_text()
    (charge,) = [
        event["data"]["object"] for event in await shopper.events_of({"order_id": order_id}, "charge.succeeded")
    ]
    offered = await shopper.stripe("GET", f"/v1/payment_methods?customer={charge['customer']}")
    assert charge["payment_method"] in [method["id"] for method in offered["data"]]
    assert charge["amount"] == 1750
