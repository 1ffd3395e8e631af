"""The system itself gives money back."""

from collections.abc import Sequence
from uuid import UUID

from payments_shared import metrics
from payments_shared.errors import Poison
from payments_shared.messaging import Transaction
from refunds.decide import machine, owing, saying, shares
from refunds.decide.owing import Cause, Owed
from refunds.handlers.opening import open_request
from refunds.handlers.settling import displace
from refunds.model.bills import STORE_CREDIT
from refunds.model.debts import Debt
from refunds.model.refunds import Order, Refund
from refunds.store import debts, disputes, requests
from refunds.store import refunds as store


async def owe_all(tx: Transaction, order: Order, payment_intent: str, reason: str) -> None:
    """Owe all of a payment for `reason`, which is kept, and open what is left of it, once. The order is locked.

    Raises:
        Poison: as `owe`.
    """
    await debts.keep(tx.connection, order.order_id, payment_intent, Debt(reason))
    await owe(tx, order, payment_intent, Cause(reason))


async def owe_all_credit(tx: Transaction, order: Order, reason: str) -> None:
    """Owe all that store credit paid of an order for `reason`, as `owe_all`. The order is locked."""
    await debts.keep(tx.connection, order.order_id, STORE_CREDIT, Debt(reason))
    await owe_credit(tx, order, Cause(reason))


async def owe(tx: Transaction, order: Order, payment_intent: str, cause: Cause) -> None:
    """Open what the system owes of a payment for `cause`, once, as far as it is left. What waits for a second person is
    canceled where it leaves too little. The order is locked.

    Raises:
        Poison: the payment was never recorded, or is recorded for another order.
    """
    payment = await store.lock_payment(tx.connection, payment_intent)
    if payment is None:
        raise Poison("payment_unknown", "A refund is owed on a payment that was never recorded.")
    owing.refuse_foreign(payment, order.order_id)
    if await requests.load_request(tx.connection, owing.id_of(payment_intent, cause)) is not None:
        return
    lost_minor = await disputes.lost_minor(tx.connection, payment_intent)
    active = await store.list_active_of(tx.connection, payment_intent)
    waiting = owing.in_the_way(payment, cause, active, lost_minor=lost_minor)
    await _make_room(tx, order, waiting, cause)
    owed = owing.system_refund(
        payment,
        cause,
        active_minor=await store.active_minor(tx.connection, payment_intent),
        lost_minor=lost_minor,
        bill=order.bill,
        given=shares.given_of(await requests.list_active(tx.connection, order.order_id)),
    )
    await _open(tx, order, owed)


async def owe_again(tx: Transaction, order: Order, payment_intent: str, cause: Cause) -> UUID:
    """Open what the system owes of a payment for `cause`, as `owe`; where the refund that paid it has come to nothing,
    once more, by another. The id of the refund that pays it, if there is anything left. The order is locked."""
    while (last := await store.load_refund(tx.connection, owing.id_of(payment_intent, cause))) is not None:
        if last.state in machine.SPENT:
            return last.id
        cause = owing.tried_again(cause, last)
    await owe(tx, order, payment_intent, cause)
    return owing.id_of(payment_intent, cause)


async def owe_credit(tx: Transaction, order: Order, cause: Cause) -> None:
    """Open what the system owes of an order's store credit for `cause`, once, unless checkout itself gives it back.
    What waits for a second person is canceled where it leaves too little. The order is locked."""
    if order.bill is None or order.account is None or order.credit_released:
        return
    credit = owing.credit_of(order.order_id, order.bill)
    if await requests.load_request(tx.connection, owing.id_of(credit.payment_intent, cause)) is not None:
        return
    waiting = owing.in_the_way(credit, cause, await store.list_active_credit(tx.connection, order.order_id))
    await _make_room(tx, order, waiting, cause)
    active = await store.active_by_tender(tx.connection, order.order_id)
    if not owing.gives_credit_back(order, active):
        return
    given = shares.given_of(await requests.list_active(tx.connection, order.order_id))
    spent = active.get(STORE_CREDIT, 0)
    await _open(tx, order, owing.system_credit(credit, order.bill, cause, active_minor=spent, given=given))


async def _make_room(tx: Transaction, order: Order, waiting: Sequence[Refund], cause: Cause) -> None:
    await displace(tx, order, waiting, f"displaced by what is owed: {cause.reason}")


async def _open(tx: Transaction, order: Order, owed: Owed | None) -> None:
    if owed is None or not await open_request(tx, owed.request, [owed.refund]):
        return
    tx.announce(saying.asked(owed.refund, order, owed.request))
    for message in saying.agreed(owed.refund, order, owed.request):
        tx.announce(message)
    metrics.REFUNDS.labels("approved").inc()
