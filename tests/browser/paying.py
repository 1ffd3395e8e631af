"""What a person does on the pages, and how they look."""

import os
from pathlib import Path
from typing import Final

from playwright.async_api import Page

DESKTOP: Final = {"width": 1280, "height": 900}
PHONE: Final = {"width": 390, "height": 844}


async def pay(page: Page, card: str) -> None:
    await page.get_by_label("Card number").fill(card)
    await page.get_by_role("button", name="Pay").click()


async def pictured(page: Page, name: str, folder: Path) -> None:
    """Screenshots of the page at both widths, in `folder`, or where `PAYMENTS_SCREENSHOTS` says."""
    folder = Path(os.environ.get("PAYMENTS_SCREENSHOTS", folder))
    folder.mkdir(parents=True, exist_ok=True)
    for device, size in (("phone", PHONE), ("desktop", DESKTOP)):
        await page.set_viewport_size(size)  # type: ignore[arg-type]  # a TypedDict of the library
        await page.screenshot(path=folder / f"{name}-{device}.png", full_page=True)
