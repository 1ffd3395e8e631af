"""The picture in the service's README is drawn from the table."""

from pathlib import Path

from refunds.decide.machine import ARROWS

README = Path(__file__).parents[2] / "services/refunds/README.md"


def diagram() -> str:
    """The states as the README shows them; what changes nothing is left out."""
    steps = ["    [*] --> requested", "    [*] --> approved: by policy"]
    steps += [
        f"    {before} --> {after}: {received}"
        for before, arrows in ARROWS.items()
        for received, after in arrows.items()
        if before is not after
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *steps, "```"])


def test_the_readme_shows_the_table_as_it_is() -> None:
    text = README.read_text(encoding="utf-8")

    shown = text.split("<!-- states -->\n")[1].split("\n<!-- /states -->")[0]

    assert shown == diagram()
