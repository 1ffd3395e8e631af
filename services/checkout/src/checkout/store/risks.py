"""Decisions about orders, kept for ever."""

import json
from collections.abc import Sequence
from uuid import UUID

from checkout.model.risks import Decided, Held, Risk
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def keep_risks(connection: Connection, risks: Sequence[tuple[UUID, Risk]]) -> list[tuple[str, str]]:
    """Append decisions; gate and outcome of those that were not known before."""
    rows = await connection.fetch(
        QUERIES["keep_risks"],
        [order_id for order_id, _ in risks],
        [risk.key for _, risk in risks],
        [risk.gate for _, risk in risks],
        [risk.outcome for _, risk in risks],
        [json.dumps(risk.reasons) for _, risk in risks],
        [json.dumps(dict(risk.detail)) for _, risk in risks],
    )
    return [(row["gate"], row["outcome"]) for row in rows]


async def list_risks(connection: Connection, order_id: UUID) -> list[Decided]:
    """What was decided about an order, the first decision first."""
    return await fetch_as(connection, Decided, QUERIES["list_risks"], order_id)


async def measure_held(connection: Connection) -> list[Held]:
    """Held orders, by the reason."""
    return await fetch_as(connection, Held, QUERIES["measure_held"])
