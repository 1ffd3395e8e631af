"""Asking Stripe for a refund, and what it answers."""

from dataclasses import dataclass, replace

import structlog

from payments_shared import metrics
from payments_shared.contracts import refunds as said
from payments_shared.errors import Poison
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused
from refunds import store
from refunds.decide import machine, owing, saying
from refunds.decide.machine import Input
from refunds.gateway import Payments
from refunds.model.refunds import Answer, Refund, State

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submitting:
    """Commands about one refund, of which one is under way at a time."""

    outbox: Outbox
    payments: Payments

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
            submitted = machine.step(refund, Input.SUBMITTED)
            await store.update_refund(tx.connection, refund, submitted, "submit")
            if refund.first_submitted_at is None:
                await store.mark_submitted(tx.connection, refund.id)
            return replace(submitted, first_submitted_at=refund.first_submitted_at)

    async def _ask(self, refund: Refund) -> Answer:
        async with acquire(self.outbox.pool) as connection:
            now = await store.business_now(connection)
        if owing.must_ask_first(refund, now) and (known := await self.payments.find(refund)):
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
        received = machine.input_of(answer)
        known = replace(answer, stripe_refund_id=answer.stripe_refund_id or current.stripe_refund_id or "")
        after = machine.step(current, received, known)
        after = replace(after, stripe_refund_id=after.stripe_refund_id or None)
        await store.update_refund(tx.connection, current, after, f"stripe:{answer.status}")
        await store.mark_answered(tx.connection, refund.id)
        if after.state is current.state:
            return
        if after.state is State.SUCCEEDED:
            await store.watch(tx.connection, refund.id, owing.WATCHED, owing.RECHECK)
        metrics.REFUNDS.labels(after.state.value).inc()
        order = await store.lock_order(tx.connection, refund.order_id)
        if after.state is State.FAILED:
            log.error("refund.failed", refund_id=str(after.id), reason=after.failure_reason)
        if (message := saying.settled(after, order.customer)) is not None:
            tx.announce(message)
