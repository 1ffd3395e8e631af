"""What must go back without anybody asking for it: facts of an order, in any order, make what the system owes."""

from dataclasses import dataclass, replace

from payments_shared import metrics
from payments_shared.contracts import checkout, inventory
from payments_shared.errors import Poison
from payments_shared.messaging import Transaction
from refunds import store
from refunds.decide import owing, saying
from refunds.decide.owing import Cause
from refunds.model.refunds import Order, Payment, State


@dataclass(frozen=True, slots=True)
class Owing:
    """Folds facts; asks nobody."""

    async def order_paid(self, tx: Transaction, message: checkout.OrderPaid) -> None:
        """Know the captures. A shortfall that was heard before is paid back now."""
        order = await store.lock_order(tx.connection, message.order_id)
        for paid in message.payments:
            if paid.amount_minor:
                await store.record_payment(
                    tx.connection,
                    Payment(paid.payment_intent, message.order_id, paid.currency, paid.amount_minor),
                )
        customer = message.customer.model_dump()
        order = replace(order, paid=True, customer=customer)
        await store.save_order(tx.connection, order, customer)
        await self._pay_shortfall(tx, order)

    async def shortfall(self, tx: Transaction, message: inventory.StockShortfall) -> None:
        """Paid and not to be had: all money of the order goes back, once its captures are known."""
        order = replace(await store.lock_order(tx.connection, message.order_id), shortfall=True)
        await store.save_order(tx.connection, order)
        await self._pay_shortfall(tx, order)

    async def refund_due(self, tx: Transaction, message: checkout.OrderRefundDue) -> None:
        """Money that checkout cannot keep. The capture may be known from this message alone."""
        order = await store.lock_order(tx.connection, message.order_id)
        customer = message.customer.model_dump() if message.customer else None
        await store.save_order(tx.connection, order, customer)
        payment = Payment(message.payment_intent, message.order_id, message.currency, message.amount_minor)
        await store.record_payment(tx.connection, payment)
        order = replace(order, customer=customer or order.customer)
        cause = Cause(message.rule or message.reason, message.amount_minor)
        await self._owe(tx, order, message.payment_intent, cause)

    async def _pay_shortfall(self, tx: Transaction, order: Order) -> None:
        if order.shortfall and order.paid:
            for payment in await store.list_payments(tx.connection, order.order_id):
                await self._owe(tx, order, payment.payment_intent, Cause("shortfall"))

    async def _owe(self, tx: Transaction, order: Order, payment_intent: str, cause: Cause) -> None:
        payment = await store.lock_payment(tx.connection, payment_intent)
        if payment is None:
            raise Poison("payment_unknown", "A refund is owed on a payment that was never recorded.")
        active = await store.active_minor(tx.connection, payment_intent)
        refund = owing.system_refund(payment, cause, active_minor=active)
        if refund is None or not await store.insert_refund(tx.connection, refund):
            return
        await store.record_transition(tx.connection, refund.id, None, State.APPROVED, cause.reason)
        for message in saying.began(refund, order.customer, owing.POLICY):
            tx.announce(message)
        metrics.REFUNDS.labels("approved").inc()
