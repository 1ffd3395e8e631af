"""Store credit, which checkout keeps: what a refund gives, and what went back without one."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from payments_shared.contracts import checkout
from payments_shared.contracts import refunds as said
from payments_shared.errors import Poison
from payments_shared.messaging import Transaction
from refunds.decide import following
from refunds.decide.machine import Input
from refunds.handlers.settling import displace, settle
from refunds.model.refunds import Answer, Order, Refund
from refunds.model.requests import Destination
from refunds.store import refunds as store

RELEASED: Final = "displaced: the order gave its store credit back by itself"


async def issue(tx: Transaction, refund: Refund, kept: timedelta | None) -> None:
    """Tell checkout to give it, for so long: once for each refund, however often it is told.

    Raises:
        Poison: `no_account`.
    """
    order = await store.load_order(tx.connection, refund.order_id)
    if order is None or order.account is None:
        raise Poison("no_account", "Store credit is due to nobody.")
    since = refund.first_submitted_at or await store.business_now(tx.connection)
    tx.announce(
        said.StoreCreditIssued(
            order_id=refund.order_id,
            refund_id=refund.id,
            payment_intent=refund.payment_intent or "",
            account=order.account,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            expires_at=since + kept if kept else None,
        )
    )


async def booked(tx: Transaction, message: checkout.StoreCreditBooked) -> None:
    """Checkout gave it."""
    refund = await _to_credit(tx, message)
    await settle(tx, refund, Answer("", Input.SUCCEEDED.value))


async def refused(tx: Transaction, message: checkout.StoreCreditRefused) -> None:
    """It came too late: the order's credit had gone back by itself, whichever of both is heard first."""
    refund = await _to_credit(tx, message)
    if message.reason == checkout.CREDIT_IS_BACK:
        await _mark_released(tx, message)
    await settle(tx, refund, Answer("", Input.FAILED.value, message.reason))


async def released(tx: Transaction, message: checkout.StoreCreditReleased) -> None:
    """Nothing of it is left to be refunded: what was not submitted is canceled. What was is answered by checkout."""
    order = await _mark_released(tx, message)
    active = await store.list_active_credit(tx.connection, order.order_id)
    await displace(tx, order, following.displaced(active, 0), RELEASED)


async def _mark_released(tx: Transaction, message: checkout.StoreCreditReleased | checkout.StoreCreditRefused) -> Order:
    order = replace(await store.lock_order(tx.connection, message.order_id), credit_released=True)
    await store.save_order(tx.connection, order)
    return order


async def _to_credit(tx: Transaction, message: checkout.StoreCreditBooked | checkout.StoreCreditRefused) -> Refund:
    refund = await store.load_refund(tx.connection, message.refund_id)
    if refund is None or refund.destination != Destination.STORE_CREDIT:
        raise Poison("refund_unknown", "There is no such refund to store credit.")
    return refund
