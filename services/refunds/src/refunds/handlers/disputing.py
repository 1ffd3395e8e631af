"""Disputes as Stripe answers when it is asked after them. What its events show is never believed: they come in any
order, and only say that there is something to ask after."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import structlog

from payments_shared import metrics
from payments_shared.contracts import refunds as said
from payments_shared.contracts import stripe
from payments_shared.contracts.fulfillment import DISPUTE_LOST
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire
from refunds.decide import disputing, hearing, saying
from refunds.decide.machine import Input
from refunds.decide.owing import Cause
from refunds.gateway import Payments
from refunds.handlers.making_up import owe_rest
from refunds.handlers.paying_back import owe
from refunds.handlers.settling import displace, settle
from refunds.model.disputes import OVER, Dispute, DisputeState, Told
from refunds.model.refunds import Answer, Order, Payment, State
from refunds.store import disputes, exhibits
from refunds.store import refunds as store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Disputing:
    """Asks Stripe, and folds the answer to the newest question."""

    outbox: Outbox
    payments: Payments

    async def hear(self, tx: Transaction, event: StripeEvent) -> None:
        """`charge.dispute.*`: ask after it."""
        told = stripe.Dispute.model_validate(event.data.object)
        tx.announce(said.FetchDispute(dispute_id=told.id, payment_intent=told.payment_intent))

    async def fetch(self, call: Call, message: said.FetchDispute) -> None:
        """Command: ask Stripe how a dispute stands."""
        asked_at = await self._question_time()
        told = await self.payments.retrieve_dispute(message.dispute_id)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            moved = await fold_dispute(tx, told, asked_at)
        if moved and message.swept:
            metrics.SWEEPER_HEALED.labels("dispute").inc()
            log.warning("dispute.healed", dispute_id=told.id, status=told.status)

    async def find(self, call: Call, message: said.FindDisputes) -> None:
        """Command: ask Stripe for all disputes of a payment, of which it refused a refund."""
        asked_at = await self._question_time()
        found = await self.payments.list_disputes(message.payment_intent)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            await fold_disputes(tx, message.order_id, message.payment_intent, found, asked_at)
            await _after_refusal(tx, message)

    async def _question_time(self) -> datetime:
        async with acquire(self.outbox.pool) as connection:
            return await disputes.question_time(connection)


async def fold_disputes(
    tx: Transaction, order_id: UUID, payment_intent: str, found: Sequence[Told], asked_at: datetime
) -> None:
    """Make all disputes of a payment known, which Stripe listed. All of them are claimed before the first is folded,
    which may lock the rows of the others."""
    await store.lock_order(tx.connection, order_id)
    await store.lock_payment(tx.connection, payment_intent)
    await disputes.claim(tx.connection, [told.id for told in found])
    for told in found:
        await fold_dispute(tx, told, asked_at)


async def fold_dispute(tx: Transaction, told: Told, asked_at: datetime) -> bool:
    """Make Stripe's answer known; whether the dispute is in another state than before."""
    payment = told.payment_intent and await store.load_payment(tx.connection, told.payment_intent)
    order = await store.lock_order(tx.connection, payment.order_id) if payment else None
    if payment:
        await store.lock_payment(tx.connection, payment.payment_intent)
    before = await disputes.lock_dispute(tx.connection, told.id)
    after = disputing.folded(
        before,
        told,
        asked_at,
        order_id=order.order_id if order else None,
        now=await store.business_now(tx.connection),
    )
    if after is None:
        return False
    await _save(tx, before, after, f"stripe:{told.status}")
    moved = before is None or before.state is not after.state
    known_now = moved or (before is not None and before.order_id is None)
    if order is not None and payment and known_now and after.state in OVER:
        await _apply(tx, order, payment, after)
    return moved


async def link_disputes(tx: Transaction, order: Order, payment_intent: str) -> None:
    """Fold the disputes of a payment that has become known. The order is locked."""
    for dispute in await disputes.lock_disputes_of(tx.connection, payment_intent):
        if dispute.order_id is None:
            linked = disputing.linked(dispute, order.order_id)
            await _save(tx, dispute, linked, "payment known")
            payment = await store.lock_payment(tx.connection, payment_intent)
            assert payment is not None  # noqa: S101 - it was recorded in this transaction, or before
            if linked.state in OVER:
                await _apply(tx, order, payment, linked)


async def _save(tx: Transaction, before: Dispute | None, after: Dispute, cause: str) -> None:
    announced = disputing.due_announcement(after)
    if announced is not None:
        tx.announce(saying.disputed(after, announced))
        after = replace(after, said=announced)
    await disputes.save_dispute(tx.connection, before, after, cause)
    if before is None or before.state is not after.state:
        metrics.DISPUTES.labels(after.state.value).inc()
        log.warning("dispute.moved", dispute_id=after.id, state=after.state.value, cause=cause)


async def _apply(tx: Transaction, order: Order, payment: Payment, over: Dispute) -> None:
    """Let refunds of the payment follow a dispute that is over."""
    known = await disputes.lock_disputes_of(tx.connection, payment.payment_intent)
    active = await store.list_active_of(tx.connection, payment.payment_intent)
    follows = disputing.consequences(over, known, active, payment)
    await displace(tx, order, follows.canceled, disputing.loss_of(over.id))
    for cause in follows.owed:
        await owe(tx, order, payment.payment_intent, cause)
    for refund in follows.canceled:
        await owe_rest(tx, order, refund)
    for refund in follows.goes_on:
        await store.mark_attempt(tx.connection, refund.id)
        tx.announce(said.SubmitRefund(order_id=refund.order_id, refund_id=refund.id))
    if over.state is DisputeState.WON:
        await _make_good(tx, order, payment, over)


async def _make_good(tx: Transaction, order: Order, payment: Payment, won: Dispute) -> None:
    """Owe again what the loss of a dispute had left no room for, now that it is won after all."""
    displaced = await store.list_displaced(tx.connection, payment.payment_intent, disputing.loss_of(won.id))
    active = await store.list_active_of(tx.connection, payment.payment_intent)
    for cause in disputing.owed_after_all(won, displaced, active):
        await owe(tx, order, payment.payment_intent, cause)
    if payment.settles and hearing.is_kept_back(await exhibits.list_exhibits(tx.connection, order.order_id)):
        await owe(tx, order, payment.payment_intent, Cause(DISPUTE_LOST, displacer=disputing.turn_of(won)))


async def _after_refusal(tx: Transaction, message: said.FindDisputes) -> None:
    """A refund that Stripe refused because of a dispute: it waits for one that is open, and is tried again where none
    is, until Stripe has refused often enough."""
    order = await store.lock_order(tx.connection, message.order_id)
    refund = await store.lock_refund(tx.connection, message.refund_id)
    assert refund is not None  # noqa: S101 - refunds are never deleted
    if refund.state is not State.APPROVED:
        return
    blocked = await disputes.blocked_payments(tx.connection, [message.payment_intent])
    if not blocked and refund.stripe_attempt >= disputing.REFUSALS:
        log.error("refund.refused", refund_id=str(refund.id), order_id=order.order_id, code="charge_disputed")
        await settle(tx, refund, Answer("", Input.FAILED.value, "charge_disputed"))
        return
    await store.mark_answered(tx.connection, refund.id)
