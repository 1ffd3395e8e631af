"""What the system owes."""

from dataclasses import replace
from uuid import UUID

from payments_shared.postgres import Connection, fetch_as
from refunds.model.debts import Attempt, Debt
from refunds.model.refunds import State
from refunds.store.refunds import QUERIES


async def keep(connection: Connection, order_id: UUID, tender: str, debt: Debt) -> None:
    """Keep what is owed of a tender, once for each reason."""
    await connection.execute(QUERIES["keep_debt"], order_id, tender, debt.reason, debt.amount_minor)


async def list_debts(connection: Connection, order_id: UUID, tender: str) -> list[Debt]:
    """What is owed of a tender, paid or not; exact only under the lock of the order."""
    return await fetch_as(connection, Debt, QUERIES["list_debts"], order_id, tender)


async def list_attempts(connection: Connection, order_id: UUID, payment_intent: str | None) -> list[Attempt]:
    """All refunds of a payment, or of store credit, the oldest first; exact only under the lock of the order."""
    found = await fetch_as(connection, Attempt, QUERIES["list_attempts"], order_id, payment_intent)
    return [replace(one, state=State(one.state)) for one in found]
