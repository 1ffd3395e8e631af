"""Disputes and warnings."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from refunds.model.disputes import Dispute, DisputeSearch, DisputeState, DisputeStep, FraudWarning
from refunds.store.refunds import QUERIES


async def question_time(connection: Connection) -> datetime:
    """When a question is put, by the database's clock."""
    now: datetime = await connection.fetchval(QUERIES["question_time"])
    return now


async def claim(connection: Connection, dispute_ids: Sequence[str]) -> None:
    """Let nobody else fold these disputes until the transaction ends, known or not; in one order, so that no two wait
    for each other. Their order and payment are locked before."""
    for dispute_id in sorted(dispute_ids):
        await connection.execute(QUERIES["claim_dispute"], dispute_id)


async def lock_dispute(connection: Connection, dispute_id: str) -> Dispute | None:
    """A dispute, locked until the transaction ends, also where it is not known yet."""
    await connection.execute(QUERIES["claim_dispute"], dispute_id)
    found = await fetch_one_as(connection, Dispute, QUERIES["lock_dispute"], dispute_id)
    return found and _typed(found)


async def load_dispute(connection: Connection, dispute_id: str) -> Dispute | None:
    """A dispute, not locked."""
    found = await fetch_one_as(connection, Dispute, QUERIES["load_dispute"], dispute_id)
    return found and _typed(found)


async def save_dispute(connection: Connection, before: Dispute | None, after: Dispute, cause: str) -> None:
    """Save what is known of a dispute, and its step, where it made one."""
    await connection.execute(
        QUERIES["save_dispute"],
        after.id,
        after.charge,
        after.payment_intent,
        after.order_id,
        after.amount_minor,
        after.currency,
        after.state.value,
        after.stripe_status,
        after.reason,
        after.network_reason_code,
        after.due_by,
        after.has_evidence,
        after.submission_count,
        after.past_due,
        after.charge_refundable,
        after.asked_at,
        after.version,
        after.said,
        after.reminded_hours,
        after.opened_at,
        after.closed_at,
    )
    if before is None or before.state is not after.state:
        former = before.state.value if before else None
        await connection.execute(QUERIES["insert_dispute_transition"], after.id, former, after.state.value, cause)


async def lock_disputes_of(connection: Connection, payment_intent: str) -> list[Dispute]:
    """The disputes of a payment, locked until the transaction ends."""
    found = await fetch_as(connection, Dispute, QUERIES["lock_disputes_of_payment"], payment_intent)
    return [_typed(dispute) for dispute in found]


async def withheld_by_payment(connection: Connection, order_id: UUID) -> dict[str, int]:
    """What disputes withhold of each payment of an order, where they do; exact only under the payments' locks."""
    rows = await connection.fetch(QUERIES["withheld_by_payment"], order_id)
    return {row["payment_intent"]: row["withheld_minor"] for row in rows}


async def lost_minor(connection: Connection, payment_intent: str) -> int:
    """What of a payment was lost to disputes; exact only under its lock."""
    total: int = await connection.fetchval(QUERIES["lost_minor"], payment_intent)
    return total


async def blocked_refunds(connection: Connection, refunds: Sequence[UUID]) -> frozenset[UUID]:
    """Those of refunds that wait until a dispute is decided."""
    return frozenset(row["id"] for row in await connection.fetch(QUERIES["blocked_refunds"], list(refunds)))


async def blocked_payments(connection: Connection, payment_intents: Sequence[str]) -> frozenset[str]:
    """Those of which nothing is refunded until a dispute is decided."""
    rows = await connection.fetch(QUERIES["blocked_payments"], list(payment_intents))
    return frozenset(row["payment_intent"] for row in rows)


async def lock_unchecked(connection: Connection, every: timedelta) -> list[tuple[str, str | None]]:
    """Disputes to ask after, locked: (dispute, payment intent)."""
    rows = await connection.fetch(QUERIES["lock_unchecked_disputes"], every)
    rows += await connection.fetch(QUERIES["lock_unlinked_disputes"])
    return [(row["id"], row["payment_intent"]) for row in rows]


async def mark_checked(connection: Connection, dispute_id: str) -> None:
    """A command to ask after the dispute is under way."""
    await connection.execute(QUERIES["mark_dispute_checked"], dispute_id)


async def lock_due(connection: Connection, marks: tuple[int, int]) -> list[Dispute]:
    """Disputes without evidence whose deadline has come nearer than a mark, in hours, at which nobody was reminded of
    them; locked."""
    return [_typed(dispute) for dispute in await fetch_as(connection, Dispute, QUERIES["lock_disputes_due"], *marks)]


async def mark_reminded(connection: Connection, dispute_id: str, hours: int) -> None:
    """Staff were reminded so many hours before the deadline."""
    await connection.execute(QUERIES["mark_reminded"], dispute_id, hours)


async def measure_disputes(connection: Connection) -> tuple[int, float | None]:
    """How many disputes are undecided, and the seconds until the nearest deadline without evidence, if there is one."""
    row = await connection.fetchrow(QUERIES["measure_disputes"])
    assert row is not None  # noqa: S101 - a SELECT without FROM always returns a row
    return row["undecided"], row["due_seconds"]


async def list_disputes(connection: Connection, search: DisputeSearch, limit: int) -> list[Dispute]:
    """A page, the newest first."""
    page, state = (search.after, limit), search.state and search.state.value
    if search.order_id is not None:
        narrowed: tuple[str, tuple[object, ...]] = ("_of_order", (search.order_id, state, search.due_before))
    elif search.due_before is not None:
        narrowed = ("_due", (search.due_before, state))
    elif state is not None:
        narrowed = ("_of_state", (state,))
    else:
        narrowed = ("", ())
    found = await fetch_as(connection, Dispute, QUERIES["list_disputes" + narrowed[0]], *page, *narrowed[1])
    return [_typed(dispute) for dispute in found]


async def list_steps(connection: Connection, dispute_id: str) -> list[DisputeStep]:
    """Everything that happened to a dispute, in order."""
    rows = await connection.fetch(QUERIES["dispute_history"], dispute_id)
    return [
        DisputeStep(
            DisputeState(row["from_state"]) if row["from_state"] else None,
            DisputeState(row["to_state"]),
            row["cause"],
            row["at"],
        )
        for row in rows
    ]


async def keep_warning(connection: Connection, warning: FraudWarning) -> None:
    """Keep what a card network warned of."""
    await connection.execute(
        QUERIES["keep_warning"],
        warning.id,
        warning.charge,
        warning.payment_intent,
        warning.fraud_type,
        warning.actionable,
    )


async def warnings_of(connection: Connection, payment_intent: str) -> list[FraudWarning]:
    """The warnings of a payment, the oldest first."""
    return await fetch_as(connection, FraudWarning, QUERIES["warnings_of_payment"], payment_intent)


def _typed(dispute: Dispute) -> Dispute:
    return replace(dispute, state=DisputeState(dispute.state))
