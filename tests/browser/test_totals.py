"""What the cart says is what the hosted page asks for, and what the order shows: in each country, in each way."""

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Locator, Page, expect
from pydantic import SecretStr

from sandbox.services.children import free_ports
from sandbox.services.deployment import Deployment
from sandbox.shop.app import application
from sandbox.shop.settings import Settings
from tests.browser.paying import add, pay, pictured
from tests.support.instances import another_checkout

pytestmark = pytest.mark.browser
CARD: Final = "4242424242424242"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def taxed_url(deployment: Deployment) -> AsyncIterator[str]:
    """The shop before a checkout that knows what tax is due, as in the demo. Buyers come back from the hosted page to
    the deployment's own shop, which reads the same cookies."""
    async with another_checkout(deployment, "taxed", PAYMENTS_TAX="table") as till:
        settings = Settings(
            port=free_ports(1)[0],
            api_url=till.public_url,
            checkout_admin_url=till.internal_url,
            inventory_admin_url=deployment.internal_url("inventory"),
            key_file=deployment.keys.people_key_file,
            secret=SecretStr(deployment.secrets["shop"]),
        )
        runner = web.AppRunner(await application(settings))
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
        yield f"http://{settings.host}:{settings.port}/shop"
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def shop(browser: Browser, taxed_url: str, on_sale: None) -> AsyncIterator[Page]:
    """The first page of that shop, for a visitor from the United States."""
    opened = await browser.new_page()
    await opened.goto(taxed_url)
    yield opened
    await opened.close()


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row", name=name, exact=False)


async def told(page: Page) -> dict[str, str]:
    """What the page's sums say, below the goods; Stripe has a name of its own for a coupon, and writes a space before
    the percent sign."""
    rows = [(await one.inner_text()).split("\t") for one in await page.get_by_role("row").all()]
    said = {name.strip().replace(" %", "%").replace("Discount", "Coupon"): amount.strip() for name, amount in rows}
    return {name.replace(" WELCOME10", ""): said[name] for name in said if _is_sum(name)}


def _is_sum(name: str) -> bool:
    return name.startswith(("Coupon", "Shipping", "GST", "Total"))


@pytest.mark.timeout(700)
async def test_the_total_follows_the_country_and_the_way_and_is_what_is_paid(shop: Page) -> None:
    await pictured(shop, "shelf")
    await add(shop, "Clay mug", "Grid notebook", "Glaze guide")
    await shop.get_by_label("E-mail").fill("ada@example.com")
    await shop.get_by_label("Coupon").fill("WELCOME10")
    await shop.get_by_label("Coupon").press("Tab")
    await expect(row(shop, "Total")).to_have_text("Total\t$40.55", use_inner_text=True)  # 39.50 less a tenth, and post

    country = shop.get_by_label("Where to send it")
    await country.select_option("Germany")
    await expect(row(shop, "VAT 19%")).to_contain_text("$5.19")  # in the total: 32.45 of 40.55 are no book
    await expect(row(shop, "VAT 7%")).to_contain_text("$0.53")
    await shop.get_by_label("Express").check()
    await expect(row(shop, "Total")).to_contain_text("$50.55")
    await expect(row(shop, "VAT 19%")).to_contain_text("$6.78")
    await expect(shop.get_by_label("Express")).to_be_focused()
    await pictured(shop, "cart")
    await country.focus()
    await country.select_option("Canada")
    await expect(row(shop, "GST 5%")).to_contain_text("$2.03")
    await expect(row(shop, "Total")).to_contain_text("$42.58")
    await expect(shop.get_by_label("Express")).to_have_count(0)
    await expect(country).to_be_focused()
    in_the_cart = await told(shop)
    await shop.get_by_role("button", name="Go to payment").click()
    await expect(shop.get_by_label("Ship to")).to_have_value("CA")
    on_the_hosted_page = await told(shop)
    await pictured(shop, "pay")
    await pay(shop, CARD)
    await expect(shop.get_by_text("Packed")).to_have_attribute("aria-current", "step", timeout=20_000)

    assert in_the_cart == await told(shop) == on_the_hosted_page
    assert set(in_the_cart.values()) == {"−$3.95", "$5.00", "$2.03", "$42.58"}
    await pictured(shop, "paid")


@pytest.mark.timeout(700)
async def test_what_is_downloaded_is_taxed_and_not_sent(shop: Page) -> None:
    await add(shop, "Glaze guide")
    await shop.get_by_label("Your country").select_option("France")
    await expect(row(shop, "VAT 5.5%")).to_contain_text("$0.47")

    await expect(row(shop, "Shipping")).to_have_count(0)
    await expect(shop.get_by_label("How to send it")).to_have_count(0)
    await expect(row(shop, "Total")).to_contain_text("$9.00")
