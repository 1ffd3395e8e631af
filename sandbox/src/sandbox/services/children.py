"""Child processes that cannot outlive us, and that we end by their pids alone."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

PORTS: Final = (12_000, 32_000)
RESERVED_SECONDS: Final = 180.0  # a busy machine starts an Erlang slowly
_reserved: Final[deque[tuple[float, socket.socket]]] = deque()

_PR_SET_PDEATHSIG: Final = 1


class ChildFailed(RuntimeError):
    """A child ended by itself or never became ready. The message ends with the tail of its log."""


def die_with_parent() -> None:
    """To be called in a child, after any change of user, which would clear the setting."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True)
class Child:
    """One child process. Its output goes to `log`."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    started: float = field(default=0.0)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def tail(self, lines: int = 30) -> str:
        """The last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.running:
            self.popen.kill()
        self.popen.wait(timeout=10)

    def stop(self, *, number: signal.Signals = signal.SIGTERM, timeout_seconds: float = 30.0) -> int:
        """Signal it, wait for its end, and return the exit status; SIGKILL when it takes too long."""
        if self.running:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def wait_until(self, ready: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Poll `ready` until it is true.

        Raises:
            ChildFailed: the child ended, or time ran out.
        """
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if not self.running:
                raise ChildFailed(f"{self.name} ended with status {self.popen.returncode}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} was not ready after {timeout_seconds:.0f} s\n{self.tail()}")
            time.sleep(0.05)


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    user: int | None = None,
    cwd: Path | None = None,
) -> Child:
    """Start `command` with exactly `environment`. As `user`, its groups are dropped too."""
    with log.open("ab") as output:
        popen = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd or "/",
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one call of the C library, no Python locks
            start_new_session=True,  # Ctrl-C is for the parent, which stops its children in order
        )
    return Child(name, popen, log, psutil.Process(popen.pid).create_time())


def free_ports(count: int) -> list[int]:
    """Different TCP ports of the loopback that are free, and that no other process on this machine gets from here until
    a program had the time to listen at them.

    They lie below those that the kernel gives to connections: one of these could sit on the port of a program that is
    being started again.
    """
    now = time.monotonic()
    while _reserved and now - _reserved[0][0] > RESERVED_SECONDS:
        _reserved.popleft()[1].close()
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(*PORTS)  # noqa: S311 - no secret
        token, probe = socket.socket(socket.AF_UNIX), socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            token.bind(f"\0payments-port-{port}")  # a name that one process on the machine can have, and no file
            probe.bind(("127.0.0.1", port))
        except OSError:
            token.close()
        else:
            ports.append(port)
            _reserved.append((now, token))
        finally:
            probe.close()
    return ports


def listening(port: int, *, greeting: bytes = b"") -> bool:
    """Whether something accepts on the loopback; with a `greeting`, whether it also says something back."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            if not greeting:
                return True
            connection.sendall(greeting)
            connection.settimeout(2)
            return bool(connection.recv(1))
    except OSError:
        return False


def clean_environment(**extra: str) -> dict[str, str]:
    """A small environment for a server: nothing of ours leaks into it."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {"LANG": "C.UTF-8", **kept, **extra}
