"""The SQL door of refunds."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries
from refunds.model.refunds import Order, Payment, Refund, State

_QUERIES = load_queries("refunds")


async def business_now(connection: Connection) -> datetime:
    """The clock of deadlines."""
    now: datetime = await connection.fetchval(_QUERIES["business_now"])
    return now


async def lock_order(connection: Connection, order_id: UUID) -> Order:
    """What is known of the order, locked; made empty when this is the first fact."""
    await connection.execute(_QUERIES["ensure_order"], order_id)
    order = await fetch_one_as(connection, Order, _QUERIES["lock_order"], order_id)
    assert order is not None  # noqa: S101 - the row was made one statement ago
    return order


async def save_order(connection: Connection, order: Order, customer: Mapping[str, str | None] | None = None) -> None:
    """Save what is known; a customer once known stays known."""
    value = dict(customer) if customer else None
    await connection.execute(_QUERIES["save_order"], order.order_id, value, order.paid, order.shortfall)


async def record_payment(connection: Connection, payment: Payment) -> None:
    """Record a capture, once."""
    await connection.execute(
        _QUERIES["record_payment"],
        payment.payment_intent,
        payment.order_id,
        payment.currency,
        payment.captured_minor,
    )


async def list_payments(connection: Connection, order_id: UUID) -> list[Payment]:
    """The captures of an order."""
    return await fetch_as(connection, Payment, _QUERIES["list_payments"], order_id)


async def lock_payment(connection: Connection, payment_intent: str) -> Payment | None:
    """A capture, locked until the transaction ends."""
    return await fetch_one_as(connection, Payment, _QUERIES["lock_payment"], payment_intent)


async def active_minor(connection: Connection, payment_intent: str) -> int:
    """What is spent of a capture; exact only under its lock."""
    total: int = await connection.fetchval(_QUERIES["active_refunds_sum"], payment_intent)
    return total


async def insert_refund(connection: Connection, refund: Refund) -> bool:
    """Save a new refund; False when its cause was paid before."""
    row = await connection.fetchrow(
        _QUERIES["insert_refund"],
        refund.id,
        refund.order_id,
        refund.payment_intent,
        refund.amount_minor,
        refund.currency,
        refund.reason,
        refund.state.value,
        refund.requester,
        refund.approver,
    )
    return row is not None


async def load_refund(connection: Connection, refund_id: UUID) -> Refund | None:
    """One refund, not locked."""
    return _typed(await fetch_one_as(connection, Refund, _QUERIES["load_refund"], refund_id))


async def lock_refund(connection: Connection, refund_id: UUID) -> Refund | None:
    """One refund, locked until the transaction ends."""
    return _typed(await fetch_one_as(connection, Refund, _QUERIES["lock_refund"], refund_id))


def _typed(refund: Refund | None) -> Refund | None:
    return refund and replace(refund, state=State(refund.state))


async def update_refund(connection: Connection, before: Refund, after: Refund, cause: str) -> None:
    """Save a refund's new state and its history."""
    await connection.execute(
        _QUERIES["update_refund"], after.id, after.state.value, after.stripe_refund_id, after.failure_reason
    )
    if before.state is not after.state:
        await record_transition(connection, after.id, before.state, after.state, cause)


async def record_transition(
    connection: Connection, refund_id: UUID, before: State | None, after: State, cause: str
) -> None:
    """Append to the history of a refund."""
    await connection.execute(_QUERIES["insert_transition"], refund_id, before and before.value, after.value, cause)


async def bump_stripe_attempt(connection: Connection, refund: Refund) -> None:
    """The next try goes under another key."""
    await connection.execute(_QUERIES["bump_stripe_attempt"], refund.id, refund.stripe_attempt)


async def mark_submitted(connection: Connection, refund_id: UUID) -> None:
    """Remember when Stripe was first asked."""
    await connection.execute(_QUERIES["mark_submitted"], refund_id)


async def measure_unanswered(connection: Connection, patience: timedelta) -> tuple[int, float]:
    """How many refunds have waited longer than `patience` for Stripe's first word, and the oldest's age in seconds."""
    row = await connection.fetchrow(_QUERIES["measure_unanswered"], patience.total_seconds())
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row["unanswered"], row["oldest_seconds"]


async def lock_unsettled(
    connection: Connection, patience: timedelta, pending: timedelta
) -> list[tuple[UUID, UUID, State]]:
    """Refunds to go on with, locked: (refund, order, state)."""
    rows = await connection.fetch(_QUERIES["lock_unsettled"], patience.total_seconds(), pending.total_seconds())
    return [(row["id"], row["order_id"], State(row["state"])) for row in rows]


async def lock_watched(connection: Connection, patience: timedelta) -> list[tuple[UUID, UUID]]:
    """Refunds that succeeded and are asked after again, locked: (refund, order)."""
    rows = await connection.fetch(_QUERIES["lock_watched"], patience.total_seconds())
    return [(row["id"], row["order_id"]) for row in rows]


async def mark_asked(connection: Connection, refund_id: UUID, every: timedelta) -> None:
    """A command about the refund is under way."""
    await connection.execute(_QUERIES["mark_asked"], refund_id, every)


async def mark_attempt(connection: Connection, refund_id: UUID) -> None:
    """The command is tried now."""
    await connection.execute(_QUERIES["mark_attempt"], refund_id)


async def mark_answered(connection: Connection, refund_id: UUID) -> None:
    """It is answered."""
    await connection.execute(_QUERIES["mark_answered"], refund_id)


async def watch(connection: Connection, refund_id: UUID, during: timedelta, every: timedelta) -> None:
    """Ask again after a refund that succeeded."""
    await connection.execute(_QUERIES["watch"], refund_id, during, every)
