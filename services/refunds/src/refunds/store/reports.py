"""Refunds of a time, put together."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter

from payments_shared.postgres import Connection
from refunds.model.patterns import Rate, Reason
from refunds.model.reports import Group, Grouping, Top, Window
from refunds.store.refunds import QUERIES

_REASONS: Final = TypeAdapter(tuple[Reason, ...])
_SUMS: Final = TypeAdapter(dict[str, int])


async def list_groups(connection: Connection, window: Window, by: Grouping, limit: int) -> list[Group]:
    """The largest groups of a time."""
    rows = await connection.fetch(QUERIES["report"], window.since, window.until, by.value, limit)
    return [_group(row) for row in rows]


async def shop_rate(connection: Connection, window: Window) -> Rate:
    """Orders that were paid in a time, and those for which a person asked to refund them."""
    row = await connection.fetchrow(QUERIES["shop_rate"], window.since, window.until)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return Rate(row["refunded"], row["orders"])


async def load_tops(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Top]:
    """Requests as a report shows them."""
    rows = await connection.fetch(QUERIES["top_requests"], ids)
    return {
        row["refund_id"]: Top(
            row["refund_id"], row["order_id"], row["score"], _REASONS.validate_python(row["score_reasons"])
        )
        for row in rows
    }


def _group(row: Any) -> Group:  # Any: asyncpg.Record has untyped columns
    return Group(
        name=row["name"],
        requests=row["requests"],
        sums=_SUMS.validate_python(row["sums"]),
        rate=Rate(row["refunded_orders"], row["orders"]),
        second_person=row["second_person"],
        suspicious=row["suspicious"],
        rejected=row["rejected"],
        failed=row["failed"],
        tops=tuple(row["tops"]),
    )
