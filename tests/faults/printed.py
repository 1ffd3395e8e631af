"""What the runbooks print for a shell, run as an operator of the containers would: as printed, after the function that
README.md of the runbooks prints for `payctl`, with the blanks filled in. Only `docker` is another one."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Final

from tests.deploy.composed import ROOT
from tests.faults.compose import Compose

RUNBOOKS: Final = ROOT / "docs/runbooks"
_FENCED: Final = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_BLANK: Final = re.compile(r"<[a-z_…]+>")


def blocks(page: str, under: str) -> list[str]:
    """The shell blocks of the part of a page that begins with `under`: a paragraph in bold or a heading up to the next,
    an item of a list up to the next item."""
    text = (RUNBOOKS / f"{page}.md").read_text(encoding="utf-8")
    (start,) = [found.start() for found in re.finditer(rf"^{re.escape(under)}", text, re.MULTILINE)]
    rest = text[start + len(under) :]
    end = re.search(r"^(?:- |\*\*[A-Z`]|## )" if under.startswith("- ") else r"^(?:\*\*[A-Z`]|## )", rest, re.MULTILINE)
    found = [dedent(block) for _, block in _FENCED.findall(rest[: end.start()] if end else rest)]
    assert found, f"{page}: nothing is printed under {under!r}"
    return found


@dataclass(slots=True)
class Operator:
    """Somebody with a shell, the containers, and the runbooks. `typed` is what he has run since, as it is printed."""

    compose: Compose
    typed: list[str] = field(default_factory=list)

    async def follow(self, page: str, under: str, blanks: Mapping[str, str] | None = None, *, only: str = "") -> str:
        """Run what is printed there (of it the blocks with `only` in them), with `blanks` filled in; what it says.

        Raises:
            AssertionError: it did not end well, or is not printed like that.
        """
        chosen = [block for block in blocks(page, under) if only in block]
        assert chosen, f"{page}: no block under {under!r} has {only!r}"
        missing = [blank for blank in blanks or {} if not any(blank in block for block in chosen)]
        assert not missing, f"{page}: {missing} is not printed under {under!r}"
        lines = [line.partition("    #")[0] for block in chosen for line in block.splitlines()]
        self.typed += [line for line in lines if line not in self.typed]
        return "".join([await self._type(_filled(block, blanks or {})) for block in chosen])

    async def _type(self, block: str) -> str:
        """Run one block in a shell that knows `payctl` as README.md of the runbooks says."""
        (known,) = blocks("README", "**In containers**")
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", known + block,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            cwd=self.compose.folder,
            env={
                "HOME": str(self.compose.folder), "COLUMNS": "300", "LANG": "C.UTF-8",
                "PATH": f"{self.compose.path}:/usr/local/bin:/usr/bin:/bin",
            },
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), timeout=170)
        said = output.decode(errors="replace")
        assert process.returncode == 0, f"{block}\nended with {process.returncode}:\n{said}"
        return said


def _filled(block: str, blanks: Mapping[str, str]) -> str:
    for blank, value in blanks.items():
        block = block.replace(blank, value)
    left = _BLANK.findall(re.sub(r"#.*", "", block))
    assert not left, f"{left} must be filled in:\n{block}"
    return block
