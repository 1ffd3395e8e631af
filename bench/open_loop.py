"""`python -m bench.open_loop`: sends signed events at a constant rate, whatever the answers do.

Like the buyers of a shop it does not wait for the server: each request has a moment at which it is due, and its
latency counts from then, also when no connection was free or the client itself was late. So a server that stalls cannot
hide the requests that it kept from being sent. One JSON order a line on standard input; `ready`; a line; then figures.
"""

import gc
import json
import resource
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final

from bench import load
from bench.connections import Connections

CONNECTIONS_MAX: Final = 256
PATIENCE_SECONDS: Final = 120.0


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


def send_all(order: Order, requests: list[bytes]) -> Sent:
    """Send `requests`, each when it is due, and wait for all answers."""
    loop = Connections(order.port, CONNECTIONS_MAX)
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
    open_at_the_end = loop.count()
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
