"""What the demo prints: progress with the time it took, and at the end the table of what was checked."""

import sys
import time
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDE: Final = 150  # for logs, which have no width of their own


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so."""

    what: str
    expected: object
    seen: object

    @property
    def holds(self) -> bool:
        return self.expected == self.seen


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)


@dataclass(slots=True)
class Report:
    """Lines go out at once, so that whoever waits sees that something moves."""

    console: Console = field(default_factory=_console)
    started: float = field(default_factory=time.monotonic)
    checks: list[Check] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """A part of the story begins."""
        self.console.print(f"\n[bold]{escape(text)}[/bold]")

    def say(self, text: str) -> None:
        """Something happened."""
        self.console.print(f"[dim]{time.monotonic() - self.started:6.2f}s[/dim]  {escape(text)}")

    def check(self, what: str, *, expected: object, seen: object) -> bool:
        """Keep a result for the table, and return whether it holds."""
        self.checks.append(Check(what, expected, seen))
        return self.checks[-1].holds

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.holds for check in self.checks)

    def table(self) -> None:
        """Print what was checked."""
        table = Table(title=None, header_style="bold", show_lines=False)
        for column in ("checked", "expected", "seen", ""):
            table.add_column(column)
        for check in self.checks:
            mark = "[green]ok[/green]" if check.holds else "[red]WRONG[/red]"
            table.add_row(escape(check.what), escape(str(check.expected)), escape(str(check.seen)), mark)
        self.heading("What was checked")
        self.console.print(table)
        verdict = "[green]All of it holds.[/green]" if self.passed else "[red]Something is wrong.[/red]"
        self.console.print(f"{verdict} {time.monotonic() - self.started:.0f} s in all.")
