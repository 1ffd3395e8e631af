"""What axe-core, Deque's judge of accessibility, finds on a page."""

import tarfile
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page

from tests.support.npm import packed

AXE: Final = "axe-core@4.14.1"
SERIOUS: Final = ("serious", "critical")
COLORS: Final = ("color-contrast",)
"""The rules whose verdict depends on light and dark."""
_RUN: Final = """rules => axe.run(document, {
    resultTypes: ['violations'], ...(rules.length ? {runOnly: {type: 'rule', values: rules}} : {}),
})"""


def script(folder: Path) -> str:
    """The judge, fetched into `folder`.

    Raises:
        Unavailable: as `packed`.
    """
    with tarfile.open(packed(AXE, folder)) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


async def serious_faults(page: Page, axe: str, *rules: str) -> list[str]:
    """Each rule that the page breaks badly, with the first place that breaks it; of `rules` where some are named."""
    if await page.evaluate("window.axe === undefined"):
        await page.evaluate(axe)
    found: dict[str, Any] = await page.evaluate(_RUN, list(rules))  # Any: JSON
    return [
        f"{fault['id']}: {fault['help']}: {fault['nodes'][0]['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in SERIOUS
    ]
