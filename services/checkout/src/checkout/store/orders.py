"""Orders, their facts, and what was said about them."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from checkout.model import FACT_KINDS, Fact, Order, PricedLine, Quote, State, Waiting
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def business_now(connection: Connection) -> datetime:
    """The clock of deadlines."""
    now: datetime = await connection.fetchval(QUERIES["business_now"])
    return now


async def insert_order(
    connection: Connection,
    order_id: UUID,
    quote: Quote,
    *,
    email: str,
    customer_subject: str | None,
    locale: str,
    token_hash: bytes,
    stripe_request: Mapping[str, Any],  # Any: Stripe's parameters, nested
    expires_at: datetime,
    lease_seconds: float,
) -> None:
    """Save a new order, pending, with the exact request that will be sent to Stripe."""
    await connection.execute(
        QUERIES["insert_order"],
        order_id,
        quote.currency,
        quote.subtotal_minor,
        quote.discount_minor,
        quote.total_minor,
        quote.coupon,
        [asdict(line) for line in quote.lines],
        email,
        customer_subject,
        locale,
        token_hash,
        dict(stripe_request),
        expires_at,
        lease_seconds,
    )
    await connection.execute(QUERIES["insert_transition"], order_id, None, State.PENDING.value)


async def load_order(connection: Connection, order_id: UUID) -> Order | None:
    """One order, not locked."""
    return _order(await connection.fetchrow(QUERIES["load_order"], order_id))


async def lock_order(connection: Connection, order_id: UUID) -> Order | None:
    """One order, locked until the transaction ends."""
    return _order(await connection.fetchrow(QUERIES["lock_order"], order_id))


def _order(row: Any) -> Order | None:  # Any: asyncpg.Record has untyped columns
    if row is None:
        return None
    columns = dict(row.items())
    columns["state"] = State(columns["state"])
    columns["lines"] = tuple(PricedLine(**line) for line in columns["lines"])
    return Order(**columns)


async def find_order(connection: Connection, session_id: str | None, payment_intent: str | None) -> UUID | None:
    """The order that a session or intent is stored with."""
    found: UUID | None = await connection.fetchval(QUERIES["find_order_by_stripe"], session_id, payment_intent)
    return found


async def store_session(connection: Connection, order_id: UUID, session_id: str, url: str | None) -> bool:
    """Fill the order's slot; False when another session has it."""
    if await connection.fetchrow(QUERIES["store_session"], order_id, session_id, url) is None:
        return False
    await connection.execute(QUERIES["open_attempt"], session_id, order_id)
    return True


async def add_fact(connection: Connection, order_id: UUID, fact: Fact) -> bool:
    """Add `fact` to the order's set; False when it was there."""
    row = await connection.fetchrow(QUERIES["insert_fact"], order_id, fact.key, type(fact).__name__, asdict(fact))
    return row is not None


async def load_facts(connection: Connection, order_id: UUID) -> list[Fact]:
    """All facts of an order, in the order of their arrival."""
    rows = await connection.fetch(QUERIES["load_facts"], order_id)
    return [FACT_KINDS[row["kind"]](**row["data"]) for row in rows]


async def load_said(connection: Connection, order_id: UUID) -> frozenset[str]:
    """Keys of what was said about an order."""
    return frozenset(row["key"] for row in await connection.fetch(QUERIES["load_said"], order_id))


async def record_said(connection: Connection, order_id: UUID, key: str, message_id: UUID) -> None:
    """Remember that something was said; the key refuses a second time."""
    await connection.execute(QUERIES["insert_said"], order_id, key, message_id)


async def save_view(
    connection: Connection,
    order: Order,
    *,
    state: State,
    held_reason: str | None,
    held_until: datetime | None,
    dishonoured: bool,
    totals: tuple[int, int, int],
    payment_intent: str | None,
    paid_at: datetime | None,
) -> None:
    """Save what the facts add up to; `totals` are tax, shipping and total."""
    await connection.execute(
        QUERIES["save_view"],
        order.id,
        state.value,
        held_reason,
        held_until,
        dishonoured,
        *totals,
        payment_intent,
        paid_at,
    )
    if state is not order.state:
        await connection.execute(QUERIES["insert_transition"], order.id, order.state.value, state.value)
    if state not in (State.PENDING, State.DECLINED):
        await connection.execute(QUERIES["close_attempts"], order.id)


async def set_coupon_use(connection: Connection, order_id: UUID, wanted: str) -> None:
    """Move the order's use of its coupon to `wanted`, with the counters.

    Late money takes its use again if one is free; else the discount is honoured and marked so.
    """
    row = await connection.fetchrow(QUERIES["lock_redemption"], order_id)
    if row is None or row["state"] == wanted or (row["state"], wanted) == ("honoured", "redeemed"):
        return
    code, now = row["code"], row["state"]
    if now == "released" and wanted == "redeemed":
        coupon = await connection.fetchrow(QUERIES["lock_coupon"], code)
        limit = coupon and coupon["max_redemptions"]
        if coupon and limit is not None and coupon["held"] + coupon["redeemed"] >= limit:
            wanted = "honoured"
    if (now, wanted) in (("released", "held"), ("redeemed", "held")):
        return
    held = int(wanted == "held") - int(now == "held")
    redeemed = int(wanted == "redeemed") - int(now == "redeemed")
    await connection.execute(QUERIES["change_coupon_uses"], code, held, redeemed)
    await connection.execute(QUERIES["update_redemption"], order_id, wanted)


async def list_waiting(connection: Connection, wait_seconds: float) -> list[Waiting]:
    """Orders with a session of which nothing was heard for so long, on the business clock; at most a hundred."""
    return await fetch_as(connection, Waiting, QUERIES["list_waiting"], wait_seconds)


async def list_unfinished(connection: Connection) -> list[UUID]:
    """Orders that nobody works on and whose session is not known, those that wait longest first."""
    return [row["id"] for row in await connection.fetch(QUERIES["list_unfinished"])]


async def lease_order(connection: Connection, order_id: UUID, lease_seconds: float) -> bool:
    """Take over one order; False while somebody else is at work on it."""
    return await connection.fetchrow(QUERIES["lease_order"], order_id, lease_seconds) is not None
