"""Programs of ours that are forked off a process which has imported, once, what others wrote and all of them need.

To import that takes a program longer than all else until it is ready. What is ours it imports by itself, under its own
environment; it is a process of its own with a log of its own, and ends as it always does. Tests start hundreds, and
keep such a process: `kept`.
"""

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from sandbox.services.children import Child, clean_environment, die_with_parent, spawn

IMPORTED: Final = (
    "aio_pika",
    "aiohttp.web",
    "aiohttp_jinja2",
    "aiosmtplib",
    "asyncpg",
    "babel.numbers",
    "cryptography.hazmat.primitives.ciphers.aead",
    "jinja2",
    "jwt",
    "prometheus_client.parser",
    "pydantic_settings",
    "stripe",
    "structlog",
    "uvloop",
)
_ORDER_MAX: Final = 128 * 1024
_STATUS: Final = struct.Struct("i")
_DESCRIPTORS_MAX: Final = 1024


class Forked(subprocess.Popen[bytes]):
    """A process that is another's child: how it ended is told through a pipe."""

    def __init__(self, module: str, pid: int, told: int) -> None:
        self.args = [sys.executable, "-m", module]
        self.pid, self._told, self._reading = pid, told, threading.Lock()
        self.returncode = None
        self._child_created = False  # there is nothing for the destructor of its base to wait for

    def __del__(self) -> None:
        os.close(self._told)

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once there is one.

        Raises:
            TimeoutExpired: it still runs.
        """
        if (status := self._ended(timeout)) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def send_signal(self, sig: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._is_told(timeout):
            with self._reading:
                if self.returncode is None:
                    status = os.read(self._told, _STATUS.size)
                    self.returncode = _STATUS.unpack(status)[0] if status else -signal.SIGKILL
        return self.returncode

    def _is_told(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._told, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))


@dataclass(slots=True)
class Warm:
    """The process that forks, and the way to it."""

    door: socket.socket
    popen: "subprocess.Popen[bytes]"
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def fork(self, module: str, log: int, environment: Mapping[str, str]) -> Forked:
        """Run `module` as `python -m` does."""
        told, tells = os.pipe()
        order = json.dumps({"module": module, "environment": dict(environment)}).encode()
        with self._asking:
            socket.send_fds(self.door, [order], [log, tells])
            os.close(tells)
            pid = int(self.door.recv(64))
        return Forked(module, pid, told)


_warm: Warm | None = None


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep such a process. It ends with the thread that comes here."""
    global _warm  # noqa: PLW0603 - one for all deployments of this process
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    popen = subprocess.Popen(
        [sys.executable, "-m", "sandbox.services.warm"],
        stdin=theirs.fileno(),
        env=clean_environment(),
        cwd="/",
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one call of the C library, no Python locks
        start_new_session=True,
    )
    theirs.close()
    before, _warm = _warm, Warm(ours, popen)
    try:
        yield
    finally:
        _warm = before
        ours.close()
        popen.wait(timeout=10)


def run(name: str, module: str, *, log: Path, environment: Mapping[str, str]) -> Child:
    """Start `python -m module` with exactly `environment`: forked, where such a process is kept."""
    if _warm is None:
        return spawn(name, [sys.executable, "-m", module], log=log, environment=environment)
    with log.open("ab") as output:
        forked = _warm.fork(module, output.fileno(), environment)
    return Child(name, forked, log, psutil.Process(forked.pid).create_time())


# -- in the process that forks ---------------------------------------------------------------------------------------


class _Order(NamedTuple):
    module: str
    environment: dict[str, str]
    log: int


def _serve(door: socket.socket) -> _Order:
    """Fork for each order until nobody is there to give one; returns in what was forked alone."""
    running: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    poll.register(door, select.POLLIN)
    while True:
        for number, _ in poll.poll():
            if number in running:
                poll.unregister(number)
                _tell(number, *running.pop(number))
                continue
            order, (log, tells) = _next_order(door)
            if (pid := os.fork()) == 0:
                return _Order(order["module"], order["environment"], log)
            watched = os.pidfd_open(pid)
            running[watched] = pid, tells
            poll.register(watched, select.POLLIN)
            os.close(log)
            door.send(str(pid).encode())


def _next_order(door: socket.socket) -> tuple[Any, list[int]]:  # Any: JSON
    raw, descriptors, _, _ = socket.recv_fds(door, _ORDER_MAX, 2)
    if not raw:
        raise SystemExit
    return json.loads(raw), descriptors


def _tell(watched: int, pid: int, tells: int) -> None:
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(tells, _STATUS.pack(os.waitstatus_to_exitcode(status)))
    os.close(tells)
    os.close(watched)


def _become(order: _Order) -> None:
    os.setsid()
    die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(order.log, 1)
    os.dup2(order.log, 2)
    os.closerange(3, _DESCRIPTORS_MAX)
    os.environ.clear()
    os.environ.update(order.environment)
    sys.path[:0] = [folder for folder in order.environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, then fork."""
    for name in IMPORTED:
        import_module(name)
    gc.freeze()  # or the first collection of each that is forked would copy all of it
    _become(_serve(socket.socket(fileno=0)))


if __name__ == "__main__":
    main()
