"""What the long forms found: printed, and kept in the folder that `PAYMENTS_EVIDENCE` names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import machine

VARIABLE: Final = "PAYMENTS_EVIDENCE"


@dataclass(frozen=True, slots=True)
class Document:
    """One file of evidence, and the command that makes it."""

    file: str
    title: str
    command: str = "make faults"


CRASHES: Final = Document("faults-crashes.md", "Crashes, kills, poison, and several instances")
NETWORK: Final = Document("faults-network.md", "Lost replies, outages of the broker, and a frozen database")
OUTAGES: Final = Document("faults-outages.md", "Outages, the alerts that tell of them, and the commands that end them")
CHECKOUT: Final = Document("checkout-long.md", "Carts, and requests made of the documents", "make long")
REFUNDS: Final = Document("refunds-long.md", "Refunds in parts", "make long")

_made: dict[str, list[str]] = {}
_facts: Final = machine.facts()  # of the start, before the faults load the machine


def keep(section: str, lines: Sequence[str], *, document: Document = CRASHES) -> None:
    """Print `lines` and add them to this run's section of `document`. What other runs found stays in theirs."""
    print("\n" + "\n".join(lines), flush=True)
    _made.setdefault(section, [*_facts, ""]).extend(lines)
    if folder := os.environ.get(VARIABLE):
        path = Path(folder) / document.file
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _sections(path.read_text(encoding="utf-8")) if path.exists() else {}
        found[section] = "\n".join(["", "```", *_made[section], "```", ""])
        parts = [f"## {name}\n{found[name]}" for name in sorted(found)]
        path.write_text("\n".join([f"# {document.title}\n\nMade by `{document.command}`.\n", *parts]), encoding="utf-8")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """`rows` under `columns`, each as wide as its widest value."""
    texts = [list(columns), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(columns))]
    return ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def _sections(document: str) -> dict[str, str]:
    _, *parts = document.split("\n## ")
    named = (part.partition("\n") for part in parts)
    return {name: text.rstrip("\n") + "\n" for name, _, text in named}
