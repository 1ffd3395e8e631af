"""Payments of orders that are not here, and which of them somebody has given back."""

from collections.abc import Collection, Mapping
from uuid import UUID

from checkout.model.losing import Taken
from payments_shared.postgres import Connection
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def list_unknown(connection: Connection, order_ids: Collection[UUID]) -> set[UUID]:
    """Those of `order_ids` that no order here has."""
    return {row["id"] for row in await connection.fetch(QUERIES["list_unknown_orders"], list(order_ids))}


async def list_asked_for(connection: Connection, order_ids: Collection[UUID]) -> Mapping[str, UUID]:
    """The payments of these orders that somebody has given back, with their orders."""
    if not order_ids:
        return {}
    rows = await connection.fetch(QUERIES["list_lost_payments"], list(order_ids))
    return {row["payment_intent"]: row["order_id"] for row in rows}


async def give_back(connection: Connection, taken: Taken, actor: str, reason: str) -> bool:
    """Write down who gives a payment back, and why; False where somebody did before."""
    found = await connection.fetchval(
        QUERIES["give_back_lost_payment"],
        taken.payment_intent,
        taken.order_id,
        taken.amount_minor,
        taken.currency,
        actor,
        reason,
    )
    return found is not None
