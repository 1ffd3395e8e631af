"""What must go back without anybody asking for it: facts of an order, in any order, make what the system owes."""

from dataclasses import dataclass, replace

import structlog

from payments_shared.contracts import checkout, fulfillment, inventory
from payments_shared.contracts import refunds as said
from payments_shared.messaging import Transaction
from refunds.decide import hearing, owing, saying
from refunds.decide.owing import Cause
from refunds.handlers.disputing import link_disputes
from refunds.handlers.exhibiting import keep_exhibit, said_at
from refunds.handlers.following import fold_kept
from refunds.handlers.paying_back import owe, owe_again, owe_all, owe_all_credit
from refunds.handlers.warning import pay_warned
from refunds.model.bills import Bill, Line
from refunds.model.debts import Debt
from refunds.model.refunds import Order, Payment
from refunds.store import debts, exhibits
from refunds.store import refunds as store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Owing:
    """Folds facts; asks nobody."""

    async def order_paid(self, tx: Transaction, message: checkout.OrderPaid) -> None:
        """Know the captures. A shortfall that was heard before is paid back now."""
        for intent in sorted(paid.payment_intent for paid in message.payments):
            await store.claim_payment(tx.connection, intent)
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
        await keep_exhibit(tx, hearing.exhibit_of_paid(message, said_at(tx)))
        for paid in message.payments:
            await _fold_what_was_kept(tx, order, paid.payment_intent)
        await self._pay_shortfall(tx, order)

    async def shortfall(self, tx: Transaction, message: inventory.StockShortfall) -> None:
        """Paid and not to be had: all money of the order goes back, once its captures are known."""
        order = replace(await store.lock_order(tx.connection, message.order_id), shortfall=True)
        await store.save_order(tx.connection, order)
        await self._pay_shortfall(tx, order)

    async def shipment_canceled(self, tx: Transaction, message: fulfillment.ShipmentCanceled) -> None:
        """Because of a dispute that was lost nothing is sent: what the bank has left of the payments goes back, and the
        store credit. Where other goods of the order have gone a person must say how much."""
        await keep_exhibit(tx, hearing.exhibit_of(message, said_at(tx)))
        if message.reason != fulfillment.DISPUTE_LOST:
            return
        order = await store.lock_order(tx.connection, message.order_id)
        if hearing.has_gone(await exhibits.list_exhibits(tx.connection, order.order_id)):
            log.error("refund.left_to_staff", order_id=order.order_id, reason=message.reason)
            tx.announce(saying.left_to_staff(order.order_id, message))
            return
        for payment in await store.list_payments(tx.connection, order.order_id):
            if payment.settles:
                await owe_all(tx, order, payment.payment_intent, fulfillment.DISPUTE_LOST)
        await owe_all_credit(tx, order, fulfillment.DISPUTE_LOST)

    async def refund_due(self, tx: Transaction, message: checkout.OrderRefundDue) -> None:
        """Money that checkout cannot keep. The capture may be known from this message alone. What somebody asks for is
        tried again where it came to nothing, and Stripe tells what went back of it before.

        Raises:
            Poison: the payment is recorded for another order.
        """
        await store.claim_payment(tx.connection, message.payment_intent)
        order = await store.lock_order(tx.connection, message.order_id)
        if message.customer is not None:
            order = replace(order, customer=message.customer.model_dump(exclude={"account"}))
        await store.save_order(tx.connection, order)
        payment = Payment(message.payment_intent, message.order_id, message.currency, message.amount_minor)
        await store.record_payment(tx.connection, payment)
        known = await store.load_payment(tx.connection, payment.payment_intent)
        owing.refuse_foreign(known or payment, order.order_id)
        await _fold_what_was_kept(tx, order, payment.payment_intent)
        debt = Debt(message.rule or message.reason, message.amount_minor)
        await debts.keep(tx.connection, order.order_id, payment.payment_intent, debt)
        cause = Cause(debt.reason, message.amount_minor - message.refunded_minor)
        if cause.reason != owing.ORDER_UNKNOWN:
            await owe(tx, order, message.payment_intent, cause)
            return
        await owe_again(tx, order, message.payment_intent, cause)
        tx.announce(said.FindRefunds(order_id=message.order_id, payment_intent=message.payment_intent))

    async def _pay_shortfall(self, tx: Transaction, order: Order) -> None:
        if order.shortfall and order.paid:
            for payment in await store.list_payments(tx.connection, order.order_id):
                await owe_all(tx, order, payment.payment_intent, "shortfall")
            await owe_all_credit(tx, order, "shortfall")


async def _fold_what_was_kept(tx: Transaction, order: Order, payment_intent: str) -> None:
    """What was told of a payment before it was known."""
    await fold_kept(tx, payment_intent)
    await link_disputes(tx, order, payment_intent)
    await pay_warned(tx, order, payment_intent)


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
