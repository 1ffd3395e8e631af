"""The picture in the service's README is drawn from the table."""

from pathlib import Path

from inventory.decide import ARROWS

README = Path(__file__).parents[2] / "services/inventory/README.md"


def diagram() -> str:
    """The states as the README shows them."""
    steps = ["    [*] --> held: hold"]
    for before, arrows in ARROWS.items():
        for word, arrow in arrows.items():
            start = before or "[*]"
            steps.append(f"    {start} --> {arrow.to}: {word}")
            if arrow.without_stock:
                steps.append(f"    {start} --> {arrow.without_stock}: {word}, no stock")
    return "\n".join(["```mermaid", "stateDiagram-v2", *steps, "```"])


def test_the_readme_shows_the_table_as_it_is() -> None:
    text = README.read_text(encoding="utf-8")

    shown = text.split("<!-- states -->\n")[1].split("\n<!-- /states -->")[0]

    assert shown == diagram()
