"""`python -m bench.operators`: operators who ask for refunds, at a constant rate or as fast as the answers come.

One JSON order a line on standard input; `ready`; a line; then figures. Sockets and epoll, as `bench.open_loop`. For how
long a lock was held is what the service itself says of each decision, in the header Server-Timing.
"""

import gc
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from bench.connections import Connections

PATH: Final = "/api/payments/refund"
DECISION: Final = b"Server-Timing: decision;dur="
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Order:
    """One refund of `amount_minor` of each of `orders`, by the holders of `tokens` in turn. With a `rate` so many a
    second, else each holder the next one when he is answered."""

    port: int
    run: str
    orders: Sequence[str]
    tokens: Sequence[str]
    amount_minor: int
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Played:
    """What came back. `waits` are from the moment at which a request was due to its answer, `decisions` from the lock
    to after the commit, both in seconds. `late`: how long after its moment a request left at worst."""

    statuses: dict[str, int]
    seconds: float
    waits: Sequence[float]
    decisions: Sequence[float]
    late: float
    cpu_seconds: float


def requests_of(order: Order) -> Iterator[bytes]:
    """Complete HTTP requests; the same order gives the same bytes."""
    for number, about in enumerate(order.orders):
        body = json.dumps({"order_id": about, "amount_minor": order.amount_minor, "reason": "goodwill"}).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {order.tokens[number % len(order.tokens)]}\r\n"
            f"Idempotency-Key: {order.run}-{number}-key\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


def play(order: Order, requests: Sequence[bytes]) -> Played:
    """Send `requests` and wait for all answers."""
    loop = Connections(order.port, len(order.tokens), noted=DECISION)
    late, position = 0.0, 0
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    give_up = started + (len(requests) / order.rate if order.rate else 0.0) + PATIENCE_SECONDS

    def due(position: int) -> float:
        return started + position / order.rate if order.rate else time.perf_counter()

    while len(loop.times) < len(requests):
        while position < len(requests) and (moment := due(position)) <= time.perf_counter():
            if not loop.send(requests[position], moment):
                break
            late = max(late, time.perf_counter() - moment)
            position += 1
        if time.perf_counter() > give_up:
            raise SystemExit(f"{len(requests) - len(loop.times)} answers never came")
        pause = due(position) - time.perf_counter()
        loop.read(pause if pause > 0 and position < len(requests) else 1.0)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    loop.close()
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    decisions = [milliseconds / 1000 for milliseconds in loop.notes]
    return Played(dict(loop.statuses), seconds, loop.times, decisions, late, cpu_seconds)


def main() -> None:
    """Serve orders until standard input ends."""
    gc.disable()  # nothing here makes cycles, and a collection over the bodies would show as latency
    for line in sys.stdin:
        order = Order(**json.loads(line))
        requests = list(requests_of(order))
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(asdict(play(order, requests))), flush=True)


if __name__ == "__main__":
    main()
