"""A front end's client, typed by the document: what is right compiles and buys, what is wrong is refused."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

from payments_shared.contracts.catalog import SERVICES
from tests.support.credit import Holder
from tests.support.documented import DOCUMENTS
from tests.support.left_out import left_out
from tests.support.npm import Unavailable, installed, node, packed
from tests.support.people import CARD
from tests.support.shopping import Shopper

pytestmark = [pytest.mark.node, pytest.mark.timeout(400)]

PACKAGES: Final = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@22.19.1")
SOURCES: Final = Path(__file__).parent / "typescript"
CLIENT: Final = Path(__file__).parents[2] / "clients" / "typescript"
POOR: Final = "4000000000990053"  # declined for now, whenever it is charged
# A request's field with a default may be left out.
GENERATE: Final = ("node_modules/openapi-typescript/bin/cli.js", "--default-non-nullable=false")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages, the types of every document, and the sources that use them."""
    folder = tmp_path_factory.mktemp("typescript")
    try:
        installed(PACKAGES, folder)
    except Unavailable as error:
        left_out(str(error))
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    for service in SERVICES:
        run(folder, *GENERATE, str(DOCUMENTS / f"{service}.json"), "-o", f"{service}.ts")
    _install_client(folder)
    return folder


def _install_client(folder: Path) -> None:
    """The client, packed from a copy of the repository's folders, as a shop installs it; and its example."""
    shutil.copytree(DOCUMENTS, folder / "repository" / "docs" / "openapi")
    copy = shutil.copytree(
        CLIENT, folder / "repository" / "clients" / "typescript", ignore=shutil.ignore_patterns("node_modules", "dist")
    )
    (folder / "packed").mkdir()
    shutil.unpack_archive(packed(str(copy), folder / "packed"), folder / "unpacked")
    shutil.move(folder / "unpacked" / "package", folder / "node_modules" / "payments-client")
    shutil.copy(CLIENT / "examples" / "cart.ts", folder)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Node's."""
    return subprocess.run(
        [*node(), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def test_every_document_becomes_types_and_the_compiler_sees_each_mistake(project: Path) -> None:
    compiled = run(project, "node_modules/typescript/bin/tsc", "-p", ".")

    assert compiled.stdout == ""
    assert {path.stem for path in (project / "out").glob("*.js")} == {*SERVICES, "shop", "mistakes", "cart"}


def test_a_mark_without_a_mistake_is_seen(project: Path) -> None:
    (project / "right.ts").write_text("// @ts-expect-error\nexport const right: string = '';\n")
    compiled = run(project, "node_modules/typescript/bin/tsc", "-p", ".", "--noEmit")
    (project / "right.ts").unlink()

    assert "TS2578" in compiled.stdout


@pytest.mark.servers
async def test_the_compiled_client_buys(project: Path, shopper: Shopper) -> None:
    sku = await shopper.offer(stock=5)
    run(project, "node_modules/typescript/bin/tsc", "-p", ".")

    done = run(project, "out/shop.js", shopper.deployment.front_door_url, sku)

    assert done.stderr == ""
    assert json.loads(done.stdout) == {"status": "pending", "total": 1800, "pointer": "/lines/0/sku"}


@pytest.mark.servers
async def test_the_packed_client_pays_with_credit_with_two_cards_and_later(project: Path, shopper: Shopper) -> None:
    sku, ada = await shopper.offer(stock=5), Holder(shopper)
    cards = [await ada.person.saves(number) for number in (CARD, "5555555555554444", POOR)]
    await ada.given(1800)
    token = ada.headers()["Authorization"].removeprefix("Bearer ")
    run(project, "node_modules/typescript/bin/tsc", "-p", ".")

    url = shopper.deployment.front_door_url
    done = run(project, "out/cart.js", url, token, sku, *(card["id"] for card in cards))

    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told.pop("recommended") in {card["id"] for card in cards}
    assert told == {
        "ways": True,
        "credit": 1800,
        "adds_up": True,
        "status": ["paid", "paid", "retrying"],
        "told": "Paid: 2 charges",
    }


def test_the_client_has_the_version_of_the_platform() -> None:
    project = tomllib.loads((CLIENT.parents[1] / "pyproject.toml").read_text())

    assert json.loads((CLIENT / "package.json").read_text())["version"] == project["project"]["version"]
