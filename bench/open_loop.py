"""`python -m bench.open_loop`: sends signed events at a constant rate, whatever the answers do.

Like the buyers of a shop it does not wait for the server: each request has a moment at which it is due, and its
latency counts from then, also when no connection was free or the client itself was late. So a server that stalls cannot
hide the requests that it kept from being sent. One JSON order a line on standard input; `ready`; a line; then figures.
"""

import gc
import json
import resource
import select
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Final

from bench import load

CONNECTIONS_MAX: Final = 256
PATIENCE_SECONDS: Final = 120.0
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


@dataclass(frozen=True, slots=True)
class Order:
    """Events 0 to `rate * seconds` of `run`, one every `1 / rate` seconds."""

    port: int
    path: str
    secret: str
    run: str
    rate: float
    seconds: float

    @property
    def count(self) -> int:
        return int(self.rate * self.seconds)


@dataclass(frozen=True, slots=True)
class Sent:
    """What came back. `started` is the wall clock when event 0 was due; the rest in seconds. `late`: how long after
    its moment a request left at worst, and `connections` how many were open at the end."""

    statuses: dict[str, int]
    started: float
    p50: float
    p99: float
    worst: float
    late: float
    connections: int
    cpu_seconds: float


class Loop:
    """The connections, and who waits for which answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._free: list[int] = []
        self._due: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        self.statuses: Counter[str] = Counter()
        self.times: list[float] = []

    def connections(self) -> int:
        """How many are open."""
        return len(self._sockets)

    def send(self, request: bytes, due: float) -> bool:
        """Send over a free connection; False when there is none and no more may be opened."""
        if self._free:
            number = self._free.pop()
        elif len(self._sockets) < CONNECTIONS_MAX:
            number = self._open()
        else:
            return False
        self._due[number] = due
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
            data = self._partial.pop(number, b"") + self._sockets[number].recv(65536)
            if not data:
                raise SystemExit(f"the server closed a connection after {len(self.times)} answers")
            if not _complete(data):
                self._partial[number] = data
                continue
            self.times.append(time.perf_counter() - self._due[number])
            self.statuses[data[9:12].decode()] += 1
            self._free.append(number)

    def close(self) -> None:
        """Close all connections."""
        for one in self._sockets.values():
            one.close()
        self._poll.close()


def send_all(order: Order, requests: list[bytes]) -> Sent:
    """Send `requests`, each when it is due, and wait for all answers."""
    loop = Loop(order.port)
    overdue: deque[tuple[bytes, float]] = deque()
    late, position = 0.0, 0
    used = resource.getrusage(resource.RUSAGE_SELF)
    started, wall = time.perf_counter(), time.time()
    give_up = started + order.seconds + PATIENCE_SECONDS
    while len(loop.times) < len(requests):
        now = time.perf_counter()
        if now > give_up:
            raise SystemExit(f"{len(requests) - len(loop.times)} answers never came")
        while position < len(requests) and started + position / order.rate <= now:
            overdue.append((requests[position], started + position / order.rate))
            position += 1
        while overdue and loop.send(*overdue[0]):
            late = max(late, time.perf_counter() - overdue.popleft()[1])
        next_due = started + position / order.rate if position < len(requests) else now + 1
        loop.read(min(next_due - time.perf_counter(), 1.0))
    after = resource.getrusage(resource.RUSAGE_SELF)
    open_at_the_end = loop.connections()
    loop.close()
    times = sorted(loop.times)
    return Sent(
        statuses=dict(loop.statuses),
        started=wall,
        p50=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        worst=times[-1],
        late=late,
        connections=open_at_the_end,
        cpu_seconds=after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
    )


def _complete(data: bytes) -> bool:
    head = data.find(_HEAD_END)
    if head < 0:
        return False
    at = data.lower().find(_LENGTH, 0, head)
    if at < 0:
        raise SystemExit(f"an answer without a length: {data[:200]!r}")
    length = int(data[at + len(_LENGTH) : data.index(b"\r", at)])
    return len(data) >= head + len(_HEAD_END) + length


def main() -> None:
    """Serve orders until standard input ends."""
    gc.disable()  # nothing here makes cycles, and a collection over the bodies would show as latency
    for line in sys.stdin:
        order = Order(**json.loads(line))
        signed = load.Order(order.port, order.path, order.secret, order.count, 0, order.run)
        requests = list(load.signed_requests(signed))
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(asdict(send_all(order, requests))), flush=True)


if __name__ == "__main__":
    main()
