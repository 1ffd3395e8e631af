"""Pages and documents that are made of the code: written where they differ from what is there."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def put(file: Path, text: str) -> bool:
    """Whether the file had to be written."""
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return False
    file.write_text(text, encoding="utf-8")
    return True


def write_page(arguments: Sequence[str], module: str, page: Callable[[], str]) -> int:
    """What `python -m module FILE` does; the exit status: 0 written or current, 2 wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: python -m {module} FILE\n")
        return 2
    file = Path(arguments[0])
    if put(file, page()):
        sys.stdout.write(f"wrote {file.name}\n")
    return 0
