"""A customer signs in, saves a card, and buys with one click."""

import secrets

import pytest
from playwright.async_api import Page, expect

from sandbox.shop.person import Person
from tests.browser.paying import add, pictured
from tests.support.credit import Holder
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.browser


async def with_saved_card(page: Page, number: str) -> None:
    """Sign in as somebody new, save a card, and put something to download into the cart."""
    await page.get_by_role("link", name="Sign in").click()
    await pictured(page, "sign-in")
    await page.get_by_label("Your e-mail address").fill(f"{secrets.token_hex(5)}@example.com")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    await page.get_by_role("button", name="Save a payment method").click()
    await pictured(page, "save")
    await page.get_by_label("Card number").fill(number)
    await page.get_by_role("button", name="Save").click()
    if await page.get_by_text("Your bank asks you to confirm").is_visible():
        await page.get_by_role("button", name="Complete").click()
    await expect(page.get_by_text(f"Visa •••• {number[-4:]}")).to_be_visible(timeout=20_000)
    await pictured(page, "account")
    await page.get_by_role("link", name="Kiln").click()
    await add(page, "Glaze guide")


@pytest.mark.timeout(700)
async def test_a_saved_card_pays_with_one_click(page: Page, shopper: Shopper) -> None:
    await with_saved_card(page, "4242424242424242")
    await page.get_by_label("Coupon").fill("WELCOME10")
    await page.get_by_label("Coupon").press("Tab")
    await expect(page.get_by_role("row", name="Total")).to_contain_text("$8.10")
    await pictured(page, "one-click")

    await page.get_by_role("button", name="Buy now with Visa •••• 4242").click()

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    await expect(page.get_by_role("row", name="Total")).to_contain_text("$8.10")
    await expect(page.get_by_text("Packed")).to_have_count(0)
    await pictured(page, "paid-download")
    order_id = await page.locator("code").first.inner_text()
    await eventually(
        lambda: shopper.mails({"order_id": order_id}, "order_confirmation"), what="the mail of the purchase"
    )
    await page.get_by_role("link", name="Cart").click()
    await expect(page.get_by_text("Nothing in it yet.")).to_be_visible()


@pytest.mark.timeout(700)
async def test_store_credit_pays_first_and_the_bank_that_says_no_for_now_is_asked_again(
    page: Page, shopper: Shopper
) -> None:
    await with_saved_card(page, "4000000000990053")
    await expect(page.get_by_label("Use my store credit")).to_have_count(0)
    email = await page.get_by_label("E-mail for the order").input_value()
    await Holder(shopper, Person(email).subject).given(400)
    await page.reload()

    await page.get_by_label("Use my store credit of $4.00").check()
    await expect(page.get_by_role("row", name="To pay")).to_contain_text("$5.00")
    async with page.expect_response("**/shop/cart"):
        await page.get_by_label("If my bank says no for now").check()
    await expect(page.locator("#cart[aria-busy]")).to_have_count(0)
    await pictured(page, "store-credit")
    await page.get_by_role("button", name="Buy now with Visa •••• 0053").click()

    await expect(page.get_by_role("heading", name="Your bank said no for now")).to_be_visible(timeout=20_000)
    await expect(page.get_by_role("row", name="Store credit")).to_contain_text("$4.00")
    await pictured(page, "retrying")
    await page.get_by_role("link", name="Cart").click()
    await expect(page.get_by_text("Nothing in it yet.")).to_be_visible()


@pytest.mark.timeout(700)
async def test_the_bank_asks_and_the_customer_confirms(page: Page) -> None:
    await with_saved_card(page, "4000002760003184")

    await page.get_by_role("button", name="Buy now with Visa •••• 3184").click()
    await expect(page.get_by_text("Your bank asks you to confirm this payment.")).to_be_visible()
    await pictured(page, "challenge")
    await page.get_by_role("button", name="Complete").click()

    await expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)


@pytest.mark.timeout(700)
async def test_what_the_bank_declines_is_said_and_the_cart_is_kept(page: Page) -> None:
    await with_saved_card(page, "4000000000000341")

    await page.get_by_role("button", name="Buy now with Visa •••• 0341").click()

    await expect(page.get_by_text("Your bank declined the payment.")).to_be_visible()
    await pictured(page, "one-click-declined")
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_label("Card number")).to_be_visible()


@pytest.mark.timeout(700)
async def test_what_is_sent_takes_one_click_once_it_is_known_where_to(page: Page, shopper: Shopper) -> None:
    await with_saved_card(page, "4242424242424242")
    one_click = page.get_by_role("button", name="Buy now")
    await expect(one_click).to_be_visible()
    await page.get_by_role("link", name="Kiln").click()
    await add(page, "Clay mug")
    await expect(page.get_by_label("Where to send it")).to_be_visible()
    await expect(one_click).to_have_count(0)

    await page.get_by_role("link", name="an address").click()
    await page.get_by_label("Name").fill("Ada Lovelace")
    await page.get_by_label("Street and number").fill("12 Torstraße")
    await page.get_by_label("Town").fill("Berlin")
    await page.get_by_label("Country").select_option("Germany")
    await page.get_by_role("button", name="Save the address").click()
    await expect(page.get_by_text("Please give the postal code")).to_be_visible()
    await page.get_by_label("Postal code").fill("10119")
    await page.get_by_role("button", name="Save the address").click()
    await page.get_by_role("link", name="Cart").click()
    await expect(page.get_by_text("Ada Lovelace, 12 Torstraße, 10119 Berlin, Germany")).to_be_visible()
    await page.get_by_label("Express").check()
    await expect(page.get_by_role("row", name="Total")).to_contain_text("$42.00")
    await pictured(page, "one-click-sent")
    await one_click.click()

    await expect(page.get_by_text("Packed")).to_have_attribute("aria-current", "step", timeout=20_000)
    await expect(page.get_by_role("row", name="Total")).to_contain_text("$42.00")
    order_id = await page.locator("code").first.inner_text()
    listed = await shopper.admin("GET", "fulfillment", f"/admin/shipments?order_id={order_id}")
    assert listed.body["address"]["line1"] == "12 Torstraße"
    assert listed.body["shipping_option"]["code"] == "express"


@pytest.mark.timeout(700)
async def test_whoever_signs_out_is_offered_no_card(page: Page) -> None:
    await with_saved_card(page, "4242424242424242")
    await expect(page.get_by_role("button", name="Buy now")).to_be_visible()
    await page.get_by_role("link", name="Account").click()

    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("link", name="Cart").click()

    await expect(page.get_by_role("button", name="Go to payment")).to_be_visible()
    await expect(page.get_by_role("button", name="Buy now")).to_have_count(0)
