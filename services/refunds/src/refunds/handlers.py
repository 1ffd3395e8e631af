"""Use cases of refunds: know what was captured, owe what must go back, ask Stripe for it, follow what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from payments_shared import metrics
from payments_shared.contracts import checkout, inventory
from payments_shared.contracts import refunds as said
from payments_shared.errors import Poison
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire, is_unavailable
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused
from payments_shared.sweeper import Round
from refunds import decide, store
from refunds.decide import Cause, Input
from refunds.gateway import Payments
from refunds.model import Answer, Order, Payment, Refund, State

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handlers:
    """`patience`: longer than a command ever waits between two attempts; `check_after`, of business time: after this a
    refund that Stripe called pending is asked after."""

    outbox: Outbox
    payments: Payments
    patience: timedelta
    check_after: timedelta

    # -- facts -------------------------------------------------------------------------------------------------------

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
        refund = decide.system_refund(payment, cause, active_minor=active)
        if refund is None or not await store.insert_refund(tx.connection, refund):
            return
        await store.record_transition(tx.connection, refund.id, None, State.APPROVED, cause.reason)
        about = _about(refund, order.customer)
        tx.announce(said.RefundRequested(**about))
        tx.announce(said.RefundApproved(**about, approver=decide.POLICY))
        tx.announce(said.SubmitRefund(order_id=refund.order_id, refund_id=refund.id))
        metrics.REFUNDS.labels("approved").inc()

    # -- commands ----------------------------------------------------------------------------------------------------

    async def submit(self, call: Call, message: said.SubmitRefund) -> None:
        """Command: ask Stripe for the refund."""
        refund = await self._begin(message)
        if refund is None:
            return
        answer = await self._ask(refund)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            await self._apply(tx, refund, answer)

    async def _begin(self, message: said.SubmitRefund) -> Refund | None:
        async with self.outbox.transaction() as tx:
            refund = await store.lock_refund(tx.connection, message.refund_id)
            if refund is None:
                raise Poison("refund_unknown", "There is no such refund.")
            if refund.state not in (State.APPROVED, State.SUBMITTED):
                return None
            await store.mark_attempt(tx.connection, refund.id)
            submitted = decide.step(refund, Input.SUBMITTED)
            await store.update_refund(tx.connection, refund, submitted, "submit")
            if refund.first_submitted_at is None:
                await store.mark_submitted(tx.connection, refund.id)
            return replace(submitted, first_submitted_at=refund.first_submitted_at)

    async def _ask(self, refund: Refund) -> Answer:
        async with acquire(self.outbox.pool) as connection:
            now = await store.business_now(connection)
        if decide.must_ask_first(refund, now) and (known := await self.payments.find(refund)):
            return known
        failpoint("before_stripe_call")
        try:
            return await self.payments.create(refund)
        except StripeRefused as refusal:
            log.error("refund.refused", refund_id=str(refund.id), code=refusal.code)
            # "Already refunded" may be our own refund, made by a request whose answer was lost.
            return await self.payments.find(refund) or Answer("", Input.FAILED.value, refusal.code)
        except OutcomeUnknown as unknown:
            if not unknown.stored_under_key:
                raise
            if known := await self.payments.find(refund):
                return known
            async with acquire(self.outbox.pool) as connection:
                await store.bump_stripe_attempt(connection, refund)
            raise

    async def check(self, call: Call, message: said.CheckRefund) -> None:
        """Command: ask Stripe what became of the refund."""
        async with acquire(self.outbox.pool) as connection:
            await store.mark_attempt(connection, message.refund_id)
            refund = await store.load_refund(connection, message.refund_id)
        if refund is None or refund.stripe_refund_id is None:
            return
        answer = await self.payments.retrieve(refund.stripe_refund_id)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            await self._apply(tx, refund, answer)

    async def _apply(self, tx: Transaction, refund: Refund, answer: Answer) -> None:
        current = await store.lock_refund(tx.connection, refund.id)
        assert current is not None  # noqa: S101 - refunds are never deleted
        received = decide.input_of(answer)
        known = replace(answer, stripe_refund_id=answer.stripe_refund_id or current.stripe_refund_id or "")
        after = decide.step(current, received, known)
        after = replace(after, stripe_refund_id=after.stripe_refund_id or None)
        await store.update_refund(tx.connection, current, after, f"stripe:{answer.status}")
        await store.mark_answered(tx.connection, refund.id)
        if after.state is current.state:
            return
        if after.state is State.SUCCEEDED:
            await store.watch(tx.connection, refund.id, decide.WATCHED, decide.RECHECK)
        metrics.REFUNDS.labels(after.state.value).inc()
        order = await store.lock_order(tx.connection, refund.order_id)
        self._announce(tx, after, order.customer)

    def _announce(self, tx: Transaction, refund: Refund, customer: Mapping[str, str | None] | None) -> None:
        about = _about(refund, customer)
        match refund.state:
            case State.SUCCEEDED:
                tx.announce(said.RefundSucceeded(**about, stripe_refund_id=refund.stripe_refund_id or ""))
            case State.FAILED:
                log.error("refund.failed", refund_id=str(refund.id), reason=refund.failure_reason)
                tx.announce(
                    said.RefundFailed(
                        **about,
                        stripe_refund_id=refund.stripe_refund_id,
                        failure_reason=refund.failure_reason,
                    )
                )
            case State.CANCELED:
                tx.announce(said.RefundCanceled(**about))
            case _:
                return

    # -- sweep -------------------------------------------------------------------------------------------------------

    async def go_on(self) -> Round:
        """Sweep: repeat submissions that were never answered, ask after refunds that stay pending.

        To repeat a submission is healing. To ask after what is pending is none: no event that we hear tells what
        becomes of it.
        """
        done = Round()
        async with self.outbox.transaction() as tx:
            unsettled = await store.lock_unsettled(tx.connection, self.patience, self.check_after)
            for refund_id, order_id, state in unsettled:
                unanswered = state in (State.APPROVED, State.SUBMITTED)
                command = said.SubmitRefund if unanswered else said.CheckRefund
                told = await self._tell_ourselves(tx, command(order_id=order_id, refund_id=refund_id))
                done += Round(healed=int(told and unanswered), failed=int(not told))
        metrics.SWEEPER_HEALED.labels("refund").inc(done.healed)
        return done

    async def recheck(self) -> Round:
        """Sweep: ask again after refunds that succeeded, since the bank may have returned the money."""
        done = Round()
        async with self.outbox.transaction() as tx:
            for refund_id, order_id in await store.lock_watched(tx.connection, self.patience):
                told = await self._tell_ourselves(tx, said.CheckRefund(order_id=order_id, refund_id=refund_id))
                done += Round(failed=int(not told))
        return done

    async def measure(self) -> Round:
        """Sweep: set the gauges of refunds of which Stripe has said nothing for long, however often it is asked."""
        async with acquire(self.outbox.pool) as connection:
            count, oldest_seconds = await store.measure_unanswered(connection, decide.ANSWERED_WITHIN)
        metrics.REFUNDS_UNANSWERED.set(count)
        metrics.REFUNDS_UNANSWERED_OLDEST_SECONDS.set(oldest_seconds)
        return Round()

    async def _tell_ourselves(self, tx: Transaction, command: said.SubmitRefund | said.CheckRefund) -> bool:
        try:
            async with tx.connection.transaction():  # a savepoint: an odd refund holds up no other
                await store.mark_asked(tx.connection, command.refund_id, decide.RECHECK)
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("refund.not_gone_on", refund_id=str(command.refund_id))
            return False
        tx.announce(command)
        return True


def _about(
    refund: Refund, customer: Mapping[str, str | None] | None
) -> dict[str, Any]:  # Any: fields of several models
    return {
        "order_id": refund.order_id,
        "refund_id": refund.id,
        "payment_intent": refund.payment_intent,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "reason": refund.reason,
        "requester": refund.requester,
        "customer": checkout.Customer.model_validate(customer) if customer else None,
    }
