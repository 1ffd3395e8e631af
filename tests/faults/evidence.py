"""What the long forms found: printed, and kept in the folder that `PAYMENTS_EVIDENCE` names."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import machine

VARIABLE: Final = "PAYMENTS_EVIDENCE"
TITLE: Final = "Crashes, kills, poison, and several instances"

_sections: dict[str, list[str]] = {}


def keep(section: str, lines: Sequence[str]) -> None:
    """Print `lines` and add them to their section of this run's document, which is written anew each time."""
    print("\n" + "\n".join(lines), flush=True)
    _sections.setdefault(section, []).extend(lines)
    if folder := os.environ.get(VARIABLE):
        path = Path(folder) / "faults-crashes.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_document(), encoding="utf-8")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """`rows` under `columns`, each as wide as its widest value."""
    texts = [list(columns), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(columns))]
    return ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def _document() -> str:
    parts = [f"# {TITLE}", "", "Made by `make faults`.", "", "```", *_facts, "```", ""]
    for section, lines in _sections.items():
        parts += [f"## {section}", "", "```", *lines, "```", ""]
    return "\n".join(parts)


_facts: Final = machine.facts()  # of the start, before the faults load the machine
