"""`python -m bench.load`: a closed-loop HTTP client in a process of its own, light enough not to bind what it measures.

It reads one JSON order a line from standard input, signs every body beforehand, says `ready`, waits for a line and
then fires; it answers with one line of figures. Sockets and epoll alone: a general client would cost more than the
server that is measured.
"""

import gc
import hashlib
import hmac
import json
import resource
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from bench.events import stripe_event

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"Content-Length: "
IDLE_SECONDS_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to send: `count` different signed events named after `run`, over `connections` at a time."""

    port: int
    path: str
    secret: str
    count: int
    connections: int
    run: str


@dataclass(frozen=True, slots=True)
class Fired:
    """What came back. Times in seconds; `cpu_seconds` is the client's own."""

    sent: int
    statuses: dict[str, int]
    seconds: float
    cpu_seconds: float
    p50: float
    p99: float
    worst: float
    body_bytes: int


def signed_requests(order: Order) -> Iterator[bytes]:
    """Complete HTTP requests, signed now."""
    now = int(time.time())
    secret = order.secret.encode()
    for number in range(order.count):
        body = stripe_event(order.run, number, created=now)
        signature = hmac.new(secret, b"%d." % now + body, hashlib.sha256).hexdigest()
        head = (
            f"POST {order.path} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nUser-Agent: Stripe/1.0\r\n"
            f"Accept: */*\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            f"Stripe-Signature: t={now},v1={signature}\r\n\r\n"
        )
        yield head.encode() + body


def fire(order: Order, requests: list[bytes]) -> Fired:
    """Send `requests`, each connection the next one when its answer is complete."""
    sockets = {}
    poll = select.epoll()
    for _ in range(order.connections):
        one = socket.create_connection(("127.0.0.1", order.port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[one.fileno()] = one
        poll.register(one.fileno(), select.EPOLLIN)
    statuses: Counter[bytes] = Counter()
    times: list[float] = []
    waiting = iter(requests)
    partial: dict[int, bytes] = {}
    since: dict[int, float] = {}
    clock = time.perf_counter
    cpu = _cpu_seconds()
    started = clock()
    for number, one in sockets.items():
        since[number] = clock()
        one.sendall(next(waiting))
    while len(times) < len(requests):
        ready = poll.poll(IDLE_SECONDS_MAX)
        if not ready:
            raise SystemExit(f"no answer for {IDLE_SECONDS_MAX:.0f} s; {len(times)} of {len(requests)} came")
        for number, _ in ready:
            one = sockets[number]
            data = one.recv(65536)
            if not data:
                raise SystemExit(f"the server closed a connection after {len(times)} answers")
            if number in partial:
                data = partial.pop(number) + data
            if not _complete(data):
                partial[number] = data
                continue
            now = clock()
            times.append(now - since[number])
            statuses[data[9:12]] += 1
            if (following := next(waiting, None)) is not None:
                since[number] = now
                one.sendall(following)
    seconds = clock() - started
    cpu = _cpu_seconds() - cpu
    for one in sockets.values():
        one.close()
    poll.close()
    times.sort()
    return Fired(
        sent=len(requests),
        statuses={status.decode(): count for status, count in statuses.items()},
        seconds=seconds,
        cpu_seconds=cpu,
        p50=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        worst=times[-1],
        body_bytes=len(requests[0].partition(_HEAD_END)[2]),
    )


def _complete(data: bytes) -> bool:
    head = data.find(_HEAD_END)
    if head < 0:
        return False
    at = data.find(_LENGTH, 0, head)
    if at < 0:
        raise SystemExit(f"an answer without a length: {data[:200]!r}")
    length = int(data[at + len(_LENGTH) : data.index(b"\r", at)])
    return len(data) >= head + len(_HEAD_END) + length


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Serve orders until standard input ends."""
    gc.disable()  # nothing here makes cycles, and a collection over the bodies would show as latency
    for line in sys.stdin:
        order = Order(**json.loads(line))
        requests = list(signed_requests(order))
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(asdict(fire(order, requests))), flush=True)


if __name__ == "__main__":
    main()
