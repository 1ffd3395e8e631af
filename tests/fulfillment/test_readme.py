"""The picture in the service's README is drawn from the table."""

from pathlib import Path

from fulfillment.decide import ARROWS

README = Path(__file__).parents[2] / "services/fulfillment/README.md"


def diagram() -> str:
    """The states as the README shows them; what is not reported by people comes of the facts."""
    steps = ["    [*] --> created: facts", "    [*] --> canceled: facts", "    created --> canceled: facts"]
    for before, arrows in ARROWS.items():
        steps += [f"    {before} --> {after}: {step.__name__.lower()}" for step, after in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *steps, "```"])


def test_the_readme_shows_the_table_as_it_is() -> None:
    text = README.read_text(encoding="utf-8")

    shown = text.split("<!-- states -->\n")[1].split("\n<!-- /states -->")[0]

    assert shown == diagram()
