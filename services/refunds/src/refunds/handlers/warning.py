"""Card networks warn of payments that a dispute may follow."""

import structlog

from payments_shared.contracts import stripe
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.messaging import Transaction
from refunds.decide import warning
from refunds.decide.warning import Warned
from refunds.handlers.paying_back import owe_all
from refunds.handlers.ruling import current_rules
from refunds.model.disputes import FraudWarning
from refunds.model.refunds import Order
from refunds.store import disputes, exhibits
from refunds.store import refunds as store

log = structlog.get_logger(__name__)


async def hear_warning(tx: Transaction, event: StripeEvent) -> None:
    """`radar.early_fraud_warning.created` and `updated`, in any order."""
    told = stripe.EarlyFraudWarning.model_validate(event.data.object)
    intent = told.payment_intent
    payment = intent and await store.find_payment(tx.connection, intent)
    order = await store.lock_order(tx.connection, payment.order_id) if payment else None
    kept = FraudWarning(told.id, told.charge, intent, told.fraud_type, told.actionable)
    await disputes.keep_warning(tx.connection, kept)
    if order is not None and intent is not None:
        await pay_warned(tx, order, intent)


async def pay_warned(tx: Transaction, order: Order, payment_intent: str) -> None:
    """Pay a payment back that was warned of, where the rules want that. The order is locked."""
    warnings = await disputes.warnings_of(tx.connection, payment_intent)
    if not warnings:
        return
    payment = await store.lock_payment(tx.connection, payment_intent)
    assert payment is not None  # noqa: S101 - the caller knows it
    known = await disputes.lock_disputes_of(tx.connection, payment_intent)
    proved = await exhibits.list_exhibits(tx.connection, order.order_id)
    warned = Warned(payment, warnings, known, order.bill, proved)
    if warning.pays_back(warned, await current_rules(tx.connection)):
        log.warning("refund.warned", payment_intent=payment_intent, warning=warnings[0].id)
        await owe_all(tx, order, payment_intent, warning.REASON)
