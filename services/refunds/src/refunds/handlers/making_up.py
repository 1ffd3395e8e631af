"""What the system owes is opened where a refund that took its room gives back nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from payments_shared.messaging import Transaction
from refunds.decide import owing
from refunds.decide.debts import holding, rest_beside
from refunds.handlers.paying_back import owe, owe_credit
from refunds.model.debts import Attempt, Debt
from refunds.model.refunds import Order, Payment, Refund
from refunds.store import debts, exhibits
from refunds.store import refunds as store


@dataclass(frozen=True, slots=True)
class Owed:
    """What the system owes of a tender, and all refunds of that. `payment`: what was paid by it."""

    payment: Payment
    debts: Sequence[Debt] = ()
    attempts: Sequence[Attempt] = ()


async def owed_beside(tx: Transaction, order: Order, refund: Refund) -> Owed:
    """What the system owes of what `refund` is of. The order is locked."""
    payment = await _paid_by(tx, order, refund)
    known = await debts.list_debts(tx.connection, order.order_id, refund.tender)
    if not known:
        return Owed(payment)
    proved = await exhibits.list_exhibits(tx.connection, order.order_id)
    attempts = await debts.list_attempts(tx.connection, order.order_id, refund.payment_intent)
    return Owed(payment, holding(known, proved), attempts)


async def owe_rest(tx: Transaction, order: Order, ended: Refund) -> None:
    """Open what the system owes and had no room for beside `ended`, which was taken back, rejected or displaced. The
    order is locked; a second call opens nothing more."""
    owed = await owed_beside(tx, order, ended)
    for cause in rest_beside(ended, owed.payment, owed.debts, owed.attempts):
        if ended.payment_intent is None:
            await owe_credit(tx, order, cause)
        else:
            await owe(tx, order, ended.payment_intent, cause)


async def _paid_by(tx: Transaction, order: Order, refund: Refund) -> Payment:
    if refund.payment_intent is None:
        assert order.bill is not None  # noqa: S101 - store credit is refunded of a bill
        return owing.credit_of(order.order_id, order.bill)
    payment = await store.load_payment(tx.connection, refund.payment_intent)
    assert payment is not None  # noqa: S101 - a foreign key
    return payment
