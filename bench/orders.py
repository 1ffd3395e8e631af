"""Orders that the events of `bench.events` pay, put into the tables by SQL.

Event `number` of `run` names an order, a session and an intent by a hash of both, which PostgreSQL can compute too: so
a hundred thousand orders are one statement, and checkout truly folds each event to `paid`.
"""

from pathlib import Path
from typing import Final

import asyncpg

from payments_shared.queries import parse_queries

SKU: Final = "bench-mug"
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))

Owner = asyncpg.Connection  # its stubs are generic, it is not


async def connect(url: str) -> "Owner[asyncpg.Record]":
    """A session of the database's owner that knows the names in the events."""
    owner = await asyncpg.connect(url)
    await owner.execute(_QUERIES["know_marks"])
    return owner


async def place_orders(owner: "Owner[asyncpg.Record]", run: str, count: int) -> None:
    """Orders of `run` that wait for the payment of their session. Two mugs each."""
    await owner.execute(_QUERIES["place_orders"], run, count, SKU)
    await owner.execute("ANALYZE checkout.orders, checkout.payment_attempts")


async def hold_stock(owner: "Owner[asyncpg.Record]", run: str, count: int) -> None:
    """The reservations that inventory would have made for them, and as much again on the shelf."""
    await owner.execute(_QUERIES["put_stock"], SKU, count)
    await owner.execute(_QUERIES["hold_stock"], run, count, SKU)
    await owner.execute("ANALYZE inventory.reservations, inventory.reservation_lines")


async def count_paid(owner: "Owner[asyncpg.Record]", run: str, count: int) -> int:
    """How many orders of `run` are paid."""
    return int(await owner.fetchval(_QUERIES["count_paid"], run, count))


async def paid_after(
    owner: "Owner[asyncpg.Record]", run: str, count: int, *, started: float, rate: float
) -> tuple[int, float, float, float]:
    """How many orders of `run` are paid; then p50, p99 and the worst of the seconds from the moment event n was due,
    `started + n / rate` on the wall clock, to the commit that made its order paid.

    The server must keep the times of commits (`track_commit_timestamp`).
    """
    row = await owner.fetchrow(_QUERIES["paid_after"], run, count, started, rate)
    assert row is not None
    if not row["paid"]:
        return 0, float("inf"), float("inf"), float("inf")
    p50, p99, worst = row["delays"]
    return row["paid"], p50, p99, worst
