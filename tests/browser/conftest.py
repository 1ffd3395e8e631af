"""A real browser before the shop."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from sandbox.services.deployment import Deployment
from sandbox.shop.catalogue import seed
from tests.support.left_out import left_out
from tests.support.shopping import Shopper

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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(browser_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def on_sale(deployment: Deployment) -> AsyncIterator[None]:
    """What the demo sells, in its ways to ship, and what tax is due on it."""
    await seed(
        checkout_url=deployment.internal_url("checkout"),
        inventory_url=deployment.internal_url("inventory"),
        token=lambda: deployment.keys.token("admin-1", "admin"),
    )
    yield


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, shopper: Shopper, on_sale: None) -> AsyncIterator[Page]:
    """The shop's first page; errors of its scripts and what its policy blocked fail the test."""
    opened = await browser.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    await opened.goto(shopper.deployment.shop_url)
    yield opened
    await opened.close()
    assert wrong == []
