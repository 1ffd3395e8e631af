"""A closed loop: so many requests are under way at any time, and each answer lets the next one go.

Servers that close after each answer, as gunicorn's sync workers do, get a new connection for each request.
"""

import gc
import hashlib
import hmac
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.connections import Connections

IDLE_SECONDS_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where the events go, and the secret that signs them."""

    port: int
    path: str
    secret: str


@dataclass(frozen=True, slots=True)
class Fired:
    """What came back. Times in seconds; `cpu_seconds` is the client's own."""

    count: int
    statuses: dict[str, int]
    seconds: float
    p50: float
    p99: float
    worst: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.count / self.seconds


def signed(target: Target, body_of: Callable[[int, int], bytes], count: int) -> Iterator[bytes]:
    """Requests, signed now. `body_of` makes the event of a number and a time."""
    now = int(time.time())
    for number in range(count):
        body = body_of(number, now)
        signature = hmac.new(target.secret.encode(), b"%d." % now + body, hashlib.sha256).hexdigest()
        head = (
            f"POST {target.path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nUser-Agent: Stripe/1.0\r\n"
            f"Accept: */*\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            f"Stripe-Signature: t={now},v1={signature}\r\n\r\n"
        )
        yield head.encode() + body


def fire(port: int, requests: list[bytes], at_once: int) -> Fired:
    """Send `requests` with `at_once` under way, and wait for all answers."""
    gc.collect()
    gc.disable()  # a collection over the bodies would show as latency
    connections = Connections(port, at_once)
    used, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    last, position = started, 0
    while len(connections.times) < len(requests):
        while position < len(requests) and connections.send(requests[position], time.perf_counter()):
            position += 1
        before = len(connections.times)
        connections.read(1.0)
        now = time.perf_counter()
        last = now if len(connections.times) > before else last
        if now - last > IDLE_SECONDS_MAX:
            raise SystemExit(f"no answer for {IDLE_SECONDS_MAX:.0f} s; {before} of {len(requests)} came")
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    connections.close()
    gc.enable()
    times = sorted(connections.times)
    return Fired(
        count=len(requests),
        statuses=dict(connections.statuses),
        seconds=seconds,
        p50=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        worst=times[-1],
        cpu_seconds=after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
    )
