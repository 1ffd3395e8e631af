"""How a bench ends: its report is printed, kept when asked for, and judged."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Report:
    """What a bench found. `complaints` are the goals it misses; the last of `lines` is the ratio."""

    title: str
    command: str
    lines: Sequence[str]
    complaints: Sequence[str]


def end_with(report: Report, evidence: Path | None) -> NoReturn:
    """Print the report, write it to the file `evidence` if there is one, and exit: status 1 when a goal is missed."""
    missed = [f"MISSED    {complaint}" for complaint in report.complaints]
    lines = [*report.lines[:-1], *missed, report.lines[-1]]
    print("\n".join(lines), flush=True)
    if evidence is not None:
        evidence.parent.mkdir(parents=True, exist_ok=True)
        text = [f"# {report.title}", "", f"Made by `{report.command}`.", "", "```", *lines, "```", ""]
        evidence.write_text("\n".join(text))
    raise SystemExit(1 if report.complaints else 0)


def say(line: str) -> None:
    """Progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)
