"""The proxy as its user sees it."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.faults.proxy.faults import Fault, to_json

ROOT: Final = Path(__file__).parents[3]
END_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened so far, by the faults' class names: how often each struck, and how often it could have (where lots
    are drawn). `open`: connections at this moment; `cut`: those that `cut` and the end of a `Blackhole` reset;
    `untold`: by Message-ID, how often `SwallowReceipt` struck a mail."""

    struck: "Counter[str]"
    chances: "Counter[str]"
    open: int
    cut: int
    untold: "Counter[str]"


class FaultProxy:
    """A proxy in front of the server at `host` and `port`, for as long as the block runs.

    Orders are obeyed when their call returns, within milliseconds, whatever the caller's own loop is doing.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._child: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """`127.0.0.1:<port>`, to be put where the server's own address was."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        host, port = self._upstream
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.proxy", host, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
        )
        self.port = int(self._answer()["port"])
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        child = self._child
        if child is not None and child.stdin is not None and child.stdout is not None:
            child.stdin.close()  # its orders end, and so does it
            child.stdout.close()
            try:
                child.wait(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.__exit__()

    def set(self, fault: Fault) -> Seen:
        """Put `fault` in force for open and new connections, in place of another of its kind."""
        return self._order({"set": to_json(fault)})

    def clear(self, *kinds: type[Fault]) -> Seen:
        """Lift the faults of `kinds`, all when none is named."""
        return self._order({"clear": [kind.__name__ for kind in kinds]})

    def cut(self) -> Seen:
        """Reset every open connection, once."""
        return self._order({"cut": True})

    def look(self) -> Seen:
        """What happened so far."""
        return self._order({})

    @property
    def struck(self) -> "Counter[str]":
        """How often each fault took effect, by its class name."""
        return self.look().struck

    def _order(self, order: dict[str, Any]) -> Seen:  # Any: JSON
        child = self._child
        assert child is not None
        assert child.stdin is not None
        child.stdin.write(json.dumps(order).encode() + b"\n")
        child.stdin.flush()
        answer = self._answer()
        struck, chances, untold = (Counter(answer[name]) for name in ("struck", "chances", "untold"))
        return Seen(struck, chances, answer["open"], answer["cut"], untold)

    def _answer(self) -> dict[str, Any]:  # Any: JSON
        assert self._child is not None
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the proxy ended with status {self._child.wait(timeout=END_SECONDS)}")
        answer: dict[str, Any] = json.loads(line)
        return answer
