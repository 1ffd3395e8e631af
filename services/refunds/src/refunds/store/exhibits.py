"""What proves orders."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from payments_shared.postgres import Connection, fetch_as
from refunds.model.exhibits import Exhibit, GivenBack, Kind
from refunds.store.refunds import QUERIES


async def keep(connection: Connection, exhibits: Sequence[Exhibit]) -> None:
    """Keep facts of any orders, each once."""
    if exhibits:
        columns = zip(
            *((one.order_id, one.kind.value, one.ref, one.at, dict(one.body)) for one in exhibits), strict=True
        )
        await connection.execute(QUERIES["keep_exhibits"], *(list(column) for column in columns))


async def list_exhibits(connection: Connection, order_id: UUID) -> list[Exhibit]:
    """The facts that are kept of an order, the oldest first."""
    found = await fetch_as(connection, Exhibit, QUERIES["list_exhibits"], order_id)
    return [replace(one, kind=Kind(one.kind)) for one in found]


async def given_back(connection: Connection, order_id: UUID) -> list[GivenBack]:
    """The refunds of an order, in the order in which they were asked for."""
    return await fetch_as(connection, GivenBack, QUERIES["given_back"], order_id)


async def forget(connection: Connection, *, older_than_days: int, at_most: int) -> int:
    """Delete exhibits that old, and say how many were deleted."""
    return int((await connection.execute(QUERIES["forget_exhibits"], older_than_days, at_most)).rpartition(" ")[2])
