"""Counts of requests."""

from collections.abc import Mapping, Sequence

from checkout.model.limits import Count, Limit
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def count_requests(connection: Connection, limits: Sequence[Limit], subjects: Mapping[str, str]) -> list[Count]:
    """Count one more request of each limit's subject, and say how many there are in its window."""
    return await fetch_as(
        connection,
        Count,
        QUERIES["count_requests"],
        [limit.name for limit in limits],
        [subjects[limit.name] for limit in limits],
        [limit.seconds for limit in limits],
    )


async def forget_counts(connection: Connection) -> None:
    """Delete counts whose window has ended, ten thousand at most."""
    await connection.execute(QUERIES["forget_counts"])
