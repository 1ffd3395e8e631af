"""HTTP connections of a load generator: sockets and epoll alone, since a general client would cost more than what it
measures."""

import contextlib
import select
import socket
import time
from collections import Counter
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_CLOSE: Final = b"connection: close"
SENT_ANEW_MAX: Final = 100


class Connections:
    """The connections, and who waits for which answer.

    A server may close an idle connection at the moment when it is used again: such a request is sent anew, as every
    HTTP client does, and its time goes on. `notes` are the numbers behind `noted` in the heads of answers.
    """

    def __init__(self, port: int, most: int, *, noted: bytes = b"") -> None:
        self._port = port
        self._noted = noted
        self._most = most
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._free: list[int] = []
        self._waiting: dict[int, tuple[bytes, float]] = {}
        self._partial: dict[int, bytes] = {}
        self._sent_anew = 0
        self.statuses: Counter[str] = Counter()
        self.times: list[float] = []
        self.notes: list[float] = []

    def count(self) -> int:
        """How many are open."""
        return len(self._sockets)

    def send(self, request: bytes, due: float) -> bool:
        """Send over a free connection; False when there is none and no more may be opened."""
        if self._free:
            number = self._free.pop()
        elif len(self._sockets) < self._most:
            number = self._open()
        else:
            return False
        self._waiting[number] = (request, due)
        with contextlib.suppress(ConnectionError):  # reading tells of it again
            self._sockets[number].sendall(request)
        return True

    def _open(self) -> int:
        one = socket.create_connection(("127.0.0.1", self._port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[one.fileno()] = one
        self._poll.register(one.fileno(), select.EPOLLIN)
        return one.fileno()

    def read(self, timeout_seconds: float) -> None:
        """Take the answers that are there, or wait for one."""
        for number, _ in self._poll.poll(max(timeout_seconds, 0)):
            try:
                fresh = self._sockets[number].recv(65536)
            except ConnectionError:
                fresh = b""
            data = self._partial.pop(number, b"") + fresh
            if not fresh:
                self._closed(number, data)
            elif complete(data):
                self._answered(number, data)
            else:
                self._partial[number] = data

    def _answered(self, number: int, data: bytes) -> None:
        self.times.append(time.perf_counter() - self._waiting.pop(number)[1])
        self.statuses[data[9:12].decode()] += 1
        if self._noted and (at := data.find(self._noted)) >= 0:
            self.notes.append(float(data[at + len(self._noted) : data.index(b"\r", at)]))
        if _CLOSE in data[: data.index(_HEAD_END)].lower():
            self._forget(number)
        else:
            self._free.append(number)

    def _closed(self, number: int, data: bytes) -> None:
        unanswered = self._waiting.pop(number, None)
        self._forget(number)
        if unanswered is None:
            return
        self._sent_anew += 1
        if data or self._sent_anew > SENT_ANEW_MAX:
            raise SystemExit(
                f"the server closes connections that wait, after {len(self.times)} answers: {data[:200]!r}"
            )
        self.send(*unanswered)

    def _forget(self, number: int) -> None:
        self._poll.unregister(number)
        self._sockets.pop(number).close()
        if number in self._free:
            self._free.remove(number)

    def close(self) -> None:
        """Close all connections."""
        for one in self._sockets.values():
            one.close()
        self._poll.close()


def complete(data: bytes) -> bool:
    """Whether an answer is there to its end."""
    head = data.find(_HEAD_END)
    if head < 0:
        return False
    at = data.lower().find(_LENGTH, 0, head)
    if at < 0:
        raise SystemExit(f"an answer without a length: {data[:200]!r}")
    length = int(data[at + len(_LENGTH) : data.index(b"\r", at)])
    return len(data) >= head + len(_HEAD_END) + length
