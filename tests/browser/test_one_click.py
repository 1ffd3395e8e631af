"""A customer signs in, saves a card, and buys with one click."""

import secrets
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.paying import pictured
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.browser


async def with_saved_card(page: Page, number: str, folder: Path) -> None:
    """Sign in as somebody new, save a card, and put a mug into the cart."""
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_label("Your e-mail address").fill(f"{secrets.token_hex(5)}@example.com")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    await page.get_by_role("button", name="Save a payment method").click()
    await page.get_by_label("Card number").fill(number)
    await page.get_by_role("button", name="Save").click()
    if await page.get_by_text("Your bank asks you to confirm").is_visible():
        await page.get_by_role("button", name="Complete").click()
    await expect(page.get_by_text(f"Visa •••• {number[-4:]}")).to_be_visible(timeout=20_000)
    await pictured(page, f"account-{number[-4:]}", folder)
    await page.get_by_role("link", name="Kiln").click()
    await page.get_by_role("button", name="Add Clay mug to the cart").click()
    await page.get_by_role("link", name="Cart").click()


@pytest.mark.timeout(700)
async def test_a_saved_card_pays_with_one_click(page: Page, shopper: Shopper, tmp_path: Path) -> None:
    await with_saved_card(page, "4242424242424242", tmp_path)
    await page.get_by_label("Coupon").fill("WELCOME10")
    await pictured(page, "one-click", tmp_path)

    await page.get_by_role("button", name="Buy now with Visa •••• 4242").click()

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    await expect(page.get_by_role("row", name="Total")).to_contain_text("$16.20")
    await pictured(page, "one-click-paid", tmp_path)
    order_id = await page.locator("code").first.inner_text()
    await eventually(
        lambda: shopper.mails({"order_id": order_id}, "order_confirmation"), what="the mail of the purchase"
    )
    await page.get_by_role("link", name="Cart").click()
    await expect(page.get_by_text("Nothing in it yet.")).to_be_visible()


@pytest.mark.timeout(700)
async def test_the_bank_asks_and_the_customer_confirms(page: Page, tmp_path: Path) -> None:
    await with_saved_card(page, "4000002760003184", tmp_path)

    await page.get_by_role("button", name="Buy now with Visa •••• 3184").click()
    await expect(page.get_by_text("Your bank asks you to confirm this payment.")).to_be_visible()
    await pictured(page, "one-click-challenge", tmp_path)
    await page.get_by_role("button", name="Complete").click()

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)


@pytest.mark.timeout(700)
async def test_what_the_bank_declines_is_said_and_the_cart_is_kept(page: Page, tmp_path: Path) -> None:
    await with_saved_card(page, "4000000000000341", tmp_path)

    await page.get_by_role("button", name="Buy now with Visa •••• 0341").click()

    await expect(page.get_by_text("Your bank declined the payment.")).to_be_visible()
    await pictured(page, "one-click-declined", tmp_path)
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_label("Card number")).to_be_visible()


@pytest.mark.timeout(700)
async def test_whoever_signs_out_is_offered_no_card(page: Page, tmp_path: Path) -> None:
    await with_saved_card(page, "4242424242424242", tmp_path)
    await page.get_by_role("link", name="Account").click()

    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("link", name="Cart").click()

    await expect(page.get_by_role("button", name="Go to payment")).to_be_visible()
    await expect(page.get_by_role("button", name="Buy now")).to_have_count(0)
