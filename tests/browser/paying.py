"""What a person does on the pages, and how they look."""

import os
import re
from pathlib import Path
from typing import Final

from playwright.async_api import Page

DESKTOP: Final = {"width": 1280, "height": 900}
PHONE: Final = {"width": 390, "height": 844}
DEVICES: Final = (("phone", PHONE), ("desktop", DESKTOP))
PAY: Final = re.compile(r"^Pay [^a-z]*[0-9]")  # the amount, and no saved card


async def pay(page: Page, card: str) -> None:
    await page.get_by_label("Card number").fill(card)
    await page.get_by_role("button", name=PAY).click()


async def add(page: Page, *articles: str) -> None:
    """Put `articles` into the cart, and look at it."""
    for article in articles:
        await page.get_by_role("button", name=f"Add {article} to the cart").click()
    await page.get_by_role("link", name="Cart").click()


async def pictured(page: Page, name: str) -> None:
    """Nothing reaches beyond the page's edge, on a desk and on a phone; where `PAYMENTS_SCREENSHOTS` names a folder,
    pictures are left there."""
    folder = os.environ.get("PAYMENTS_SCREENSHOTS")
    for device, size in DEVICES:
        await page.set_viewport_size(size)  # type: ignore[arg-type]  # a TypedDict of the library
        beyond = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert beyond <= 0, f"{name} is {beyond} pixels too wide on a {device}"
        if folder:
            await page.screenshot(path=Path(folder) / f"{name}-{device}.png", full_page=True)
