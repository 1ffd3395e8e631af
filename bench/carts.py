"""`python -m bench.carts`: places orders at checkout, at a constant rate or as fast as the answers come.

One JSON order a line on standard input; `ready`; a line; then figures. Sockets and epoll, as `bench.load` and
`bench.open_loop`, whose loops it uses.
"""

import gc
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from bench import load, open_loop

PATH = "/api/payments/checkout-session"


@dataclass(frozen=True, slots=True)
class Order:
    """`count` guests, each of whom wants one or two of `skus` things. With a `rate` they come so many a second, else
    `connections` at a time."""

    port: int
    run: str
    count: int
    skus: int
    rate: float = 0.0
    connections: int = 0


def sku(number: int) -> str:
    """What thing `number` of the catalogue is called."""
    return f"old-{number}"


def requests_of(order: Order) -> Iterator[bytes]:
    """Complete HTTP requests; the same order gives the same bytes."""
    chance = random.Random(order.run)  # noqa: S311 - carts, not secrets
    for number in range(order.count):
        wanted = chance.sample(range(1, order.skus + 1), chance.randint(1, 2))
        body = json.dumps(
            {
                "lines": [{"sku": sku(one), "quantity": chance.randint(1, 3)} for one in wanted],
                "email": f"guest-{order.run}-{number}@example.com",
                "currency": "usd",
            }
        ).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {order.run}-{number}-key\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


def main() -> None:
    """Serve orders until standard input ends."""
    gc.disable()  # nothing here makes cycles, and a collection over the bodies would show as latency
    for line in sys.stdin:
        order = Order(**json.loads(line))
        requests = list(requests_of(order))
        print("ready", flush=True)
        sys.stdin.readline()
        if order.rate:
            paced = open_loop.Order(order.port, PATH, "", order.run, order.rate, order.count / order.rate)
            print(json.dumps(asdict(open_loop.send_all(paced, requests))), flush=True)
        else:
            closed = load.Order(order.port, PATH, "", order.count, order.connections, order.run)
            print(json.dumps(asdict(load.fire(closed, requests))), flush=True)


if __name__ == "__main__":
    main()
