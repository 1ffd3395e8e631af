"""Commands, pages and settings of operations stand in its documents, and no document names one that there is not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from operations.payctl import app as payctl
from operations.routes.console.pages import NAVIGATION
from operations.settings import Settings
from payments_shared.settings import ServiceSettings

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "services/operations/README.md"
CONSOLE: Final = ROOT / "docs/console.md"
PAGES: Final = sorted(
    page
    for place in ("*.md", "docs/*.md", "docs/adr/*.md", "docs/runbooks/*.md", "deploy/**/*.md", "services/*/README.md")
    for page in ROOT.glob(place)
    if page.name != "CHANGELOG.md"  # it tells of what there was
)
WORD: Final = r"[a-z][a-z-]*(?![^\s|`])"


def commands() -> set[str]:
    """`dlq list`, `audit` and so on, as payctl has them."""

    def walk(command: Any, path: str) -> Iterator[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path
        for name, child in (inner or {}).items():
            yield from walk(child, f"{path} {name}".strip())

    return set(walk(get_command(payctl), ""))


def groups() -> set[str]:
    return {name.partition(" ")[0] for name in commands() if " " in name}


def named(text: str) -> set[str]:
    """The commands that a text writes as code; `a | b` are two. Of a group without a command there is the group."""
    grouped = groups()
    found: set[str] = set()
    for first, others in re.findall(rf"(?:^|`|/)payctl ({WORD})((?: {WORD}(?: \| {WORD})*)?)", text, re.MULTILINE):
        inner = [word.strip() for word in others.split("|") if word.strip()]
        found |= {f"{first} {word}" for word in inner} if first in grouped and inner else {first}
    return found


def variables(text: str) -> set[str]:
    return set(re.findall(r"`(PAYMENTS_[A-Z_]+)`", text))


def fields(settings: type[ServiceSettings]) -> set[str]:
    return {f"PAYMENTS_{name.upper()}" for name in settings.model_fields}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("payctl audit     # every rule", {"audit"}),
        ("`payctl dlq watch | pause <bulk>`", {"dlq watch", "dlq pause"}),
        ("payctl order release | refuse ord_... --reason", {"order release", "order refuse"}),
        ("payctl disputes --due-within 72h", {"disputes"}),
        ("payctl dispute-evidence du_... --pdf out.pdf", {"dispute-evidence"}),
        ("`deploy/payctl dlq summary`, or `payctl order ord_...`", {"dlq summary", "order"}),
        ("whoever has payctl at hand", set()),
    ],
)
def test_commands_are_found_where_they_are_written_as_code(text: str, found: set[str]) -> None:
    assert named(text) == found


def test_every_command_stands_in_the_readme() -> None:
    assert commands() - named(README.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_commands_that_there_are(page: Path) -> None:
    assert named(page.read_text(encoding="utf-8")) - commands() - groups() == set()


def test_every_place_of_the_console_is_described() -> None:
    rows = set(re.findall(r"^\| ([A-Z][A-Za-z ]+) \|", CONSOLE.read_text(encoding="utf-8"), re.MULTILINE))

    assert {name for _, name in NAVIGATION} - rows == set()


def test_every_setting_is_described_and_no_other() -> None:
    own = fields(Settings) - fields(ServiceSettings)
    console, readme = (variables(page.read_text(encoding="utf-8")) for page in (CONSOLE, README))

    assert own - console - readme == set()
    assert console - fields(Settings) == set()
