"""A person comes back to a cart that he left, by the link in the mail."""

import re
import secrets
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from payments_shared.ids import external_id
from tests.browser.paying import add, pay, pictured
from tests.support.shopping import Json, Shopper, eventually

pytestmark = pytest.mark.browser


async def canceled(shopper: Shopper, order: Json) -> None:
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}/cancel"
    answer = await shopper.call("POST", url, **{"Order-Token": order["order_token"]})
    assert answer.status == 200, answer
    await shopper.until(order, "canceled")


async def left_unpaid(page: Page, shopper: Shopper, *articles: str) -> Json:
    """Go to the hosted page with `articles` and no further."""
    email = f"{secrets.token_hex(5)}@example.com"
    await add(page, *articles)
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Coupon").fill("WELCOME10")
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_label("Card number")).to_be_visible()
    order_id = await shopper.owner.fetchval("SELECT id FROM checkout.orders WHERE email = $1", email)
    return {"order_id": external_id("ord", order_id), "email": email}


async def reprice(shopper: Shopper, sku: str, **given: Any) -> None:  # Any: JSON
    await shopper.admin("PUT", "checkout", f"/admin/products/{sku}", given)


async def expire(shopper: Shopper, order: Json) -> str:
    """Close the hosted page, and return the link of the mail that comes."""
    await shopper.stripe("POST", f"/v1/checkout/sessions/{await shopper.session_of(order)}/expire")
    (mail,) = await eventually(lambda: shopper.mails(order, "order_expired"), what="the mail with the way back")
    _, text = await shopper.mail_parts(mail)
    found = re.search(r"http\S+/shop/recover\?\S+", text)
    assert found is not None, text
    return found[0]


@pytest.mark.timeout(700)
async def test_an_expired_order_is_taken_up_again_from_the_link_in_the_mail(
    browser: Browser, page: Page, shopper: Shopper
) -> None:
    order = await left_unpaid(page, shopper, "Clay mug", "Fern pot", "Canvas tote")
    await reprice(shopper, "MUG-CLAY", name="Clay mug", image="mug", prices={"usd": 1950})
    await reprice(shopper, "TOTE-CANVAS", name="Canvas tote", image="tote", prices={"usd": 2200}, active=False)
    link = await expire(shopper, order)

    context = await browser.new_context()  # another device: it knows nothing of the order
    phone = await context.new_page()
    await phone.goto(link)
    await expect(phone.get_by_role("heading", name="Your cart is still here")).to_be_visible()
    await expect(phone.get_by_text("Clay mug is $19.50 now; it was $18.00.")).to_be_visible()
    await expect(phone.get_by_text("Canvas tote is no longer sold. We left it out.")).to_be_visible()
    # 19.50 + 34.00, less a tenth; that is not enough to be sent for nothing, as it was with the tote.
    await expect(phone.get_by_role("row", name="Shipping")).to_contain_text("$5.00")
    await expect(phone.get_by_role("row", name="Total")).to_contain_text("$53.15")
    await pictured(phone, "recovery")
    await phone.get_by_role("button", name="Go to payment").click()
    await pay(phone, "4242424242424242")

    await expect(phone.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    await expect(phone.get_by_role("row", name="Total")).to_contain_text("$53.15")
    await phone.goto(link)
    await expect(phone.get_by_text("This order is paid")).to_be_visible()
    await context.close()


@pytest.mark.timeout(700)
async def test_what_is_out_of_stock_is_said_and_can_be_changed_in_the_cart(page: Page, shopper: Shopper) -> None:
    order = await left_unpaid(page, shopper, "Brass pen", "Clay mug")
    link = await expire(shopper, order)
    others = await shopper.placed("PEN-BRASS", quantity=(await shopper.stock_of("PEN-BRASS"))["available"])

    await page.goto(link)
    await page.get_by_role("button", name="Go to payment").click()
    await expect(page.get_by_text("Sold out, please remove it.")).to_be_visible()
    await pictured(page, "recovery-sold-out")
    await page.get_by_role("button", name="Change it in the cart first").click()
    await page.get_by_role("button", name="Remove Brass pen").click()
    await page.get_by_label("E-mail").fill(order["email"])
    await page.get_by_role("button", name="Go to payment").click()

    await expect(page.get_by_label("Card number")).to_be_visible()
    await canceled(shopper, others)  # other tests sell pens, too


@pytest.mark.timeout(700)
async def test_the_browser_that_placed_it_needs_no_link(page: Page, shopper: Shopper) -> None:
    order = await left_unpaid(page, shopper, "Grid notebook")
    await expire(shopper, order)

    await page.goto(f"{shopper.deployment.shop_url}/success?order_id={order['order_id']}")
    await expect(page.get_by_role("heading", name="The time to pay ran out")).to_be_visible()
    await pictured(page, "expired")
    await page.get_by_role("link", name="Order it again").click()
    await page.get_by_role("button", name="Go to payment").click()

    await expect(page.get_by_label("Card number")).to_be_visible()


@pytest.mark.timeout(700)
@pytest.mark.parametrize("spoil", ["0", "order"])
async def test_a_link_that_lost_a_piece_says_so(page: Page, shopper: Shopper, spoil: str) -> None:
    order = await left_unpaid(page, shopper, "Clay mug")
    link = await expire(shopper, order)

    await page.goto(link[:-1] if spoil == "0" else link.replace("ord_", "ord"))

    await expect(page.get_by_text("This link is not complete.")).to_be_visible()


@pytest.mark.timeout(700)
async def test_reminders_end_with_one_click_on_the_page_of_the_mail(page: Page, shopper: Shopper) -> None:
    order = await left_unpaid(page, shopper, "Clay mug")
    await expire(shopper, order)
    (mail,) = await shopper.mails(order, "order_expired")
    _, text = await shopper.mail_parts(mail)
    found = re.search(r"http\S+/api/payments/unsubscribe\?\S+", text)
    assert found is not None

    await page.goto(found[0])
    await pictured(page, "unsubscribe")
    await page.goto(f"{shopper.deployment.mailbox_url}/mail/{mail['id']}/html")
    await pictured(page, "recovery-mail")
    await page.goto(found[0])
    await page.get_by_role("button", name="No more reminders").click()

    await expect(page.get_by_role("heading", name="You get no more reminders")).to_be_visible()
    count = "SELECT count(*) FROM notifications.suppressions WHERE address = $1"
    assert await shopper.count(count, order["email"]) == 1
