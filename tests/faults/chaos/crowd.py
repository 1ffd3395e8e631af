"""The buyers' process, as its supervisor sees it."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.faults.chaos.buyers import Account, Instructions

ROOT: Final = Path(__file__).parents[3]
LINE_BYTES_MAX: Final = 2**24


@dataclass(slots=True)
class Crowd:
    """Buyers at work in a process of their own; `at_work` is at most a second old."""

    process: asyncio.subprocess.Process
    at_work: int = 0
    begun: int = 0
    done: int = 0
    _answers: "asyncio.Queue[dict[str, Any] | None]" = field(default_factory=asyncio.Queue)  # Any: JSON

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, instructions: Instructions) -> AsyncIterator["Crowd"]:
        """Buyers who begin at once, for as long as the block runs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.chaos.buyers", cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX,
        )  # fmt: skip
        crowd = cls(process)
        listening = asyncio.create_task(crowd._listen())
        crowd._tell(asdict(instructions))
        try:
            yield crowd
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
            await listening

    @property
    def cpu_seconds(self) -> float:
        """What buying has cost so far."""
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return times.user + times.system

    async def close(self, *, within: float) -> Account | None:
        """Let nobody in any more and wait for the last; None when some are still at it after `within` seconds."""
        self._tell({"do": "close"})
        try:
            return Account(**(await asyncio.wait_for(self._answer("closed"), within)))
        except TimeoutError:
            return None

    async def reconcile(self) -> list[str]:
        """Let the buyers look at all their orders; the differences."""
        self._tell({"do": "reconcile"})
        found: list[str] = await self._answer("reconciled")
        return found

    async def _answer(self, name: str) -> Any:  # Any: JSON
        answer = await self._answers.get()
        if answer is None:
            raise RuntimeError("the buyers' process died")
        return answer[name]

    def _tell(self, what: dict[str, Any]) -> None:  # Any: JSON
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            said = json.loads(line)
            if "at_work" in said:
                self.at_work, self.begun, self.done = said["at_work"], said["begun"], said["done"]
            else:
                self._answers.put_nowait(said)
        self._answers.put_nowait(None)
