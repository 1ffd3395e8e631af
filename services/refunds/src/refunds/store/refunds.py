"""Orders, payments, and what goes back of them."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries
from refunds.model.bills import STORE_CREDIT, Bill
from refunds.model.heard import Heard
from refunds.model.refunds import Order, Payment, Refund, State

QUERIES = load_queries("refunds")
_BILL: Final = TypeAdapter(Bill)


async def business_now(connection: Connection) -> datetime:
    """The clock of deadlines."""
    now: datetime = await connection.fetchval(QUERIES["business_now"])
    return now


async def lock_order(connection: Connection, order_id: UUID) -> Order:
    """What is known of the order, locked; made empty when this is the first fact."""
    order = await fetch_one_as(connection, Order, QUERIES["lock_order"], order_id)
    if order is None:
        await connection.execute(QUERIES["ensure_order"], order_id)
        order = await fetch_one_as(connection, Order, QUERIES["lock_order"], order_id)
    assert order is not None  # noqa: S101 - the row was made one statement ago
    return _with_bill(order)


async def lock_orders(connection: Connection, order_ids: Collection[UUID]) -> None:
    """Lock what is known of orders, one after the other in the order of their ids; made empty where nothing is."""
    if order_ids:
        await connection.execute(QUERIES["ensure_orders"], sorted(order_ids))
        await connection.execute(QUERIES["lock_orders"], sorted(order_ids))


async def lock_order_and_payments(connection: Connection, order_id: UUID) -> Order | None:
    """What is known of the order, locked with its captures until the transaction ends."""
    order = await fetch_one_as(connection, Order, QUERIES["lock_order_and_payments"], order_id)
    return order and _with_bill(order)


async def load_order(connection: Connection, order_id: UUID) -> Order | None:
    """What is known of the order, not locked."""
    order = await fetch_one_as(connection, Order, QUERIES["load_order"], order_id)
    return order and _with_bill(order)


def _with_bill(order: Order) -> Order:
    return replace(order, bill=read_bill(order.bill)) if order.bill else order


def read_bill(kept: object) -> Bill:
    """A bill as it is kept; members that a newer release added are passed over."""
    return _BILL.validate_python(kept)


async def save_order(connection: Connection, order: Order) -> None:
    """Save what is known; what was once known of its customer and its bill stays."""
    customer = dict(order.customer) if order.customer else None
    bill = _BILL.dump_python(order.bill, mode="json") if order.bill else None
    await connection.execute(
        QUERIES["save_order"],
        order.order_id,
        customer,
        order.paid,
        order.shortfall,
        bill,
        order.account,
        order.credit_released,
    )


async def record_payment(connection: Connection, payment: Payment) -> None:
    """Record a capture, once."""
    await connection.execute(
        QUERIES["record_payment"],
        payment.payment_intent,
        payment.order_id,
        payment.currency,
        payment.captured_minor,
        payment.settles,
    )


async def list_payments(connection: Connection, order_id: UUID) -> list[Payment]:
    """The captures of an order."""
    return await fetch_as(connection, Payment, QUERIES["list_payments"], order_id)


async def lock_payment(connection: Connection, payment_intent: str) -> Payment | None:
    """A capture, locked until the transaction ends."""
    return await fetch_one_as(connection, Payment, QUERIES["lock_payment"], payment_intent)


async def active_by_tender(connection: Connection, order_id: UUID) -> dict[str, int]:
    """What is spent of each tender of an order; exact only under its lock."""
    rows = await connection.fetch(QUERIES["active_by_tender"], order_id)
    return {row["payment_intent"] or STORE_CREDIT: row["spent_minor"] for row in rows}


async def load_payment(connection: Connection, payment_intent: str) -> Payment | None:
    """A capture, not locked."""
    return await fetch_one_as(connection, Payment, QUERIES["load_payment"], payment_intent)


async def claim_payment(connection: Connection, payment_intent: str) -> None:
    """Let nobody else make the payment known, or keep what is told of it, until the transaction ends. It comes before
    every other lock."""
    await connection.execute(QUERIES["claim_payment"], payment_intent)


async def find_payment(connection: Connection, payment_intent: str) -> Payment | None:
    """A capture, not locked; where it is not known yet it stays so until the transaction ends. Nothing is locked
    before."""
    if (known := await load_payment(connection, payment_intent)) is not None:
        return known
    await claim_payment(connection, payment_intent)
    return await load_payment(connection, payment_intent)


async def told_minor(connection: Connection, payment_intent: str) -> int:
    """How much of a capture is known to have gone back at Stripe, or to be on its way there."""
    total: int = await connection.fetchval(QUERIES["told_minor"], payment_intent)
    return total


async def list_active_of(connection: Connection, payment_intent: str) -> list[Refund]:
    """The active refunds of a capture, the oldest first; exact only under its lock."""
    found = await fetch_as(connection, Refund, QUERIES["list_active_of"], payment_intent)
    return [typed(refund) for refund in found]


async def list_active_credit(connection: Connection, order_id: UUID) -> list[Refund]:
    """The active refunds of what store credit paid, the oldest first; exact only under the lock of the order."""
    found = await fetch_as(connection, Refund, QUERIES["list_active_credit"], order_id)
    return [typed(refund) for refund in found]


async def list_displaced(connection: Connection, payment_intent: str, cause: str) -> list[Refund]:
    """The refunds of a capture that were canceled for `cause`, the oldest first; exact only under its lock."""
    found = await fetch_as(connection, Refund, QUERIES["list_displaced"], payment_intent, cause)
    return [typed(refund) for refund in found]


async def find_refund(connection: Connection, stripe_refund_id: str) -> Refund | None:
    """The refund that is Stripe's of that id."""
    found = await fetch_one_as(connection, Refund, QUERIES["find_refund"], stripe_refund_id)
    return found and typed(found)


async def keep_heard(connection: Connection, heard: Heard) -> None:
    """Keep what was told of a payment that is not known; what was told last replaces what was told before, unless that
    was final."""
    await connection.execute(
        QUERIES["keep_heard"],
        heard.stripe_refund_id,
        heard.payment_intent,
        heard.amount_minor,
        heard.currency,
        heard.status,
        heard.failure_reason,
        heard.refund_id,
        heard.pending_reason,
        heard.action_expires_at,
    )


async def take_heard(connection: Connection, payment_intent: str) -> list[Heard]:
    """Everything that was kept about a payment, which is forgotten with that."""
    return await fetch_as(connection, Heard, QUERIES["take_heard"], payment_intent)


async def active_minor(connection: Connection, payment_intent: str) -> int:
    """What is spent of a capture; exact only under its lock."""
    total: int = await connection.fetchval(QUERIES["active_refunds_sum"], payment_intent)
    return total


async def load_refund(connection: Connection, refund_id: UUID) -> Refund | None:
    """One refund, not locked."""
    found = await fetch_one_as(connection, Refund, QUERIES["load_refund"], refund_id)
    return found and typed(found)


async def lock_refund(connection: Connection, refund_id: UUID) -> Refund | None:
    """One refund, locked until the transaction ends."""
    found = await fetch_one_as(connection, Refund, QUERIES["lock_refund"], refund_id)
    return found and typed(found)


def typed(refund: Refund) -> Refund:
    """A row's text as a state."""
    return replace(refund, state=State(refund.state))


async def update_refund(
    connection: Connection, before: Refund, after: Refund, cause: str, actor: str | None = None
) -> None:
    """Save a refund's new state and its history, with the `actor` where a person made the step. What Stripe is not to
    be asked for any more is put off no more."""
    await _save(connection, before, after, cause, actor, answered=False)


async def conclude_refund(connection: Connection, before: Refund, after: Refund, cause: str) -> None:
    """As `update_refund`, and no command about the refund is under way any more."""
    await _save(connection, before, after, cause, None, answered=True)


async def _save(
    connection: Connection, before: Refund, after: Refund, cause: str, actor: str | None, *, answered: bool
) -> None:
    await connection.execute(
        QUERIES["update_refund"],
        after.id,
        after.state.value,
        after.stripe_refund_id,
        after.failure_reason,
        after.pending_reason,
        after.action_expires_at,
        before.state.value,
        cause,
        actor,
        answered,
    )


async def submit_refund(connection: Connection, refund: Refund) -> None:
    """Save that Stripe, or checkout for store credit, is asked for a locked refund now: a command about it lives."""
    await connection.execute(QUERIES["submit_refund"], refund.id, refund.state.value)


async def bump_stripe_attempt(connection: Connection, refund: Refund) -> None:
    """The next try goes under another key."""
    await connection.execute(QUERIES["bump_stripe_attempt"], refund.id, refund.stripe_attempt)


async def measure_unanswered(connection: Connection, patience: timedelta) -> tuple[int, float]:
    """How many refunds have waited longer than `patience` for Stripe's first word, and the oldest's age in seconds."""
    row = await connection.fetchrow(QUERIES["measure_unanswered"], patience.total_seconds())
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row["unanswered"], row["oldest_seconds"]


async def lock_unsettled(
    connection: Connection, patience: timedelta, pending: timedelta
) -> list[tuple[UUID, UUID, State]]:
    """Refunds to go on with, locked: (refund, order, state)."""
    rows = await connection.fetch(QUERIES["lock_unsettled"], patience.total_seconds(), pending.total_seconds())
    return [(row["id"], row["order_id"], State(row["state"])) for row in rows]


async def put_off(connection: Connection, refund_id: UUID) -> None:
    """Stripe is not asked for the refund while refunds are stopped."""
    await connection.execute(QUERIES["put_off"], refund_id)


async def list_put_off(connection: Connection, refunds: Collection[UUID]) -> list[UUID]:
    """Those of `refunds` that are put off."""
    return [row["refund_id"] for row in await connection.fetch(QUERIES["list_put_off"], list(refunds))]


async def take_put_off(connection: Connection, at_most: int) -> list[tuple[UUID, UUID]]:
    """Refunds that were put off, and are no more: (refund, order)."""
    rows = await connection.fetch(QUERIES["take_put_off"], at_most)
    return [(row["id"], row["order_id"]) for row in rows]


async def lock_watched(connection: Connection, patience: timedelta) -> list[tuple[UUID, UUID]]:
    """Refunds that succeeded and are asked after again, locked: (refund, order)."""
    rows = await connection.fetch(QUERIES["lock_watched"], patience.total_seconds())
    return [(row["id"], row["order_id"]) for row in rows]


async def mark_asked(connection: Connection, refund_id: UUID, every: timedelta) -> None:
    """A command about the refund is under way."""
    await connection.execute(QUERIES["mark_asked"], refund_id, every)


async def mark_attempt(connection: Connection, refund_id: UUID) -> None:
    """The command is tried now."""
    await connection.execute(QUERIES["mark_attempt"], refund_id)


async def mark_answered(connection: Connection, refund_id: UUID) -> None:
    """It is answered."""
    await connection.execute(QUERIES["mark_answered"], refund_id)


async def watch(connection: Connection, refund_id: UUID, during: timedelta, every: timedelta) -> None:
    """Ask again after a refund that succeeded."""
    await connection.execute(QUERIES["watch"], refund_id, during, every)
