"""What the README prints works as printed."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from payments_shared.contracts.stripe import EVENT_TYPES
from sandbox.shop.catalogue import seed
from tests.support.shopping import Shopper

ROOT = Path(__file__).parents[2]


def blocks(heading: str) -> list[str]:
    """The shell blocks under a heading."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert section is not None, heading
    return re.findall(r"^```sh\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)


def named_as_said(service: str) -> list[str]:
    """The types in the list of what a service says."""
    text = (ROOT / "services" / service / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Says$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert section is not None, service
    return re.findall(r"`([a-z_.]+)`", section[1])


async def shell(script: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec("bash", "-euc", script, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return dict(json.loads(output))


async def test_the_curl_of_the_readme_places_an_order_and_follows_it(shopper: Shopper, tmp_path: Path) -> None:
    deployment = shopper.deployment
    await seed(
        checkout_url=deployment.internal_url("checkout"),
        inventory_url=deployment.internal_url("inventory"),
        token=lambda: deployment.keys.token("admin-1", "admin"),
    )
    place, follow = (
        block.replace("http://127.0.0.1:8080", deployment.front_door_url).replace("/tmp/", f"{tmp_path}/")  # noqa: S108
        for block in blocks("Call it from a front end")
    )

    order = await shell(place)
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    seen = await shell(follow)

    assert (seen["status"], seen["total_minor"], seen["order_id"]) == ("paid", 1800, order["order_id"])


def test_the_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {match for path in ("README.md", "CONTRIBUTING.md") for match in re.findall(
        r"make ([a-z-]+)", (ROOT / path).read_text(encoding="utf-8"))}  # fmt: skip

    assert named >= {"demo", "test", "demo-compose", "lint"}
    assert {name for name in named if not re.search(rf"^{name}( [a-z-]+)*:", makefile, re.MULTILINE)} == set()


def test_what_a_real_account_needs_is_what_we_ask_and_hear_of_it() -> None:
    guide = (ROOT / "docs" / "stripe-account.md").read_text(encoding="utf-8")
    subscribed = re.findall(r"^- `([a-z_.]+)`$", guide, re.MULTILINE)
    allowed = re.search(
        r"\| checkout \| a restricted key is enough: (.*?): write; (.*?): read; .* also (.*?): write \|", guide
    )
    gateway = (ROOT / "services" / "checkout" / "src" / "checkout" / "gateway").glob("*.py")
    called = set(re.findall(r"stripe\.v1\.([a-z_.]+)\.([a-z]+)_async", "".join(file.read_text() for file in gateway)))
    changed = {what for what, how in called if how not in ("list", "retrieve")}

    assert subscribed == list(EVENT_TYPES)
    assert named_as_said("webhook-ingest") == list(EVENT_TYPES), "somebody will subscribe the endpoint by this list"
    assert allowed is not None
    written, read = (
        {what.replace(" ", "").lower() for what in text.split(", ")}
        for text in (f"{allowed[1]}, {allowed[3]}", allowed[2])
    )
    assert {what.replace("_", "").replace(".", "") for what in changed} == written
    assert {what.replace("_", "").replace(".", "") for what, _ in called} - written == read


def test_every_link_of_the_documents_leads_somewhere() -> None:
    documents = [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "services").glob("*/README.md"),
    ]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8"))
    ]

    assert len(links) > 20
    assert [(str(document), target) for document, target in links if not (document.parent / target).exists()] == []


def test_every_picture_of_a_page_is_shown_and_small() -> None:
    folder = ROOT / "docs" / "pages"
    sizes = {picture.name: picture.stat().st_size for picture in folder.glob("*.png")}
    shown = re.findall(r"!\[\]\(([^)]+)\)", (folder / "README.md").read_text(encoding="utf-8"))

    assert sorted(shown) == sorted(sizes)
    assert {name for name, size in sizes.items() if size > 150_000} == set()
    assert sum(sizes.values()) < 3_000_000
