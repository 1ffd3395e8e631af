"""What must go back without anybody asking for it: facts of an order, in any order, make what the system owes."""

from dataclasses import dataclass, replace

from payments_shared import metrics
from payments_shared.contracts import checkout, inventory
from payments_shared.errors import Poison
from payments_shared.messaging import Transaction
from refunds.decide import owing, saying, shares
from refunds.decide.owing import Cause
from refunds.handlers.following import fold_kept
from refunds.handlers.opening import open_request
from refunds.model.bills import Bill, Line
from refunds.model.refunds import Order, Payment
from refunds.store import refunds as store
from refunds.store import requests


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
                    Payment(paid.payment_intent, message.order_id, paid.currency, paid.amount_minor, settles=True),
                )
        customer = message.customer
        order = replace(
            order,
            paid=True,
            customer=customer.model_dump(exclude={"account"}),
            bill=_bill(message),
            account=customer.account,
        )
        await store.save_order(tx.connection, order)
        for paid in message.payments:
            await fold_kept(tx, paid.payment_intent)
        await self._pay_shortfall(tx, order)

    async def shortfall(self, tx: Transaction, message: inventory.StockShortfall) -> None:
        """Paid and not to be had: all money of the order goes back, once its captures are known."""
        order = replace(await store.lock_order(tx.connection, message.order_id), shortfall=True)
        await store.save_order(tx.connection, order)
        await self._pay_shortfall(tx, order)

    async def refund_due(self, tx: Transaction, message: checkout.OrderRefundDue) -> None:
        """Money that checkout cannot keep. The capture may be known from this message alone."""
        order = await store.lock_order(tx.connection, message.order_id)
        if message.customer is not None:
            order = replace(order, customer=message.customer.model_dump(exclude={"account"}))
        await store.save_order(tx.connection, order)
        payment = Payment(message.payment_intent, message.order_id, message.currency, message.amount_minor)
        await store.record_payment(tx.connection, payment)
        await fold_kept(tx, payment.payment_intent)
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
        given = shares.given_of(await requests.list_active(tx.connection, order.order_id))
        owed = owing.system_refund(payment, cause, active_minor=active, bill=order.bill, given=given)
        if owed is None or not await open_request(tx, owed.request, [owed.refund]):
            return
        tx.announce(saying.asked(owed.refund, order, owed.request))
        for message in saying.agreed(owed.refund, order, owed.request):
            tx.announce(message)
        metrics.REFUNDS.labels("approved").inc()


def _bill(message: checkout.OrderPaid) -> Bill:
    lines = (
        Line(
            sku=line.sku,
            name=line.name,
            quantity=line.quantity,
            amount_minor=line.amount_minor,
            goods=tuple((part.sku, part.quantity) for part in line.parts) or ((line.sku, 1),),
        )
        for line in message.lines
    )
    return Bill(
        currency=message.currency,
        subtotal_minor=message.subtotal_minor,
        discount_minor=message.discount_minor,
        tax_minor=message.tax_minor,
        shipping_minor=message.shipping_minor,
        total_minor=message.total_minor,
        store_credit_minor=message.store_credit_minor,
        lines=tuple(lines),
        paid_at=message.paid_at,
    )
