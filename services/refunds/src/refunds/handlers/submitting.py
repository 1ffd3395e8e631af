"""Asking Stripe for a refund, and what it answers."""

from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from payments_shared.contracts import checkout
from payments_shared.contracts import refunds as said
from payments_shared.errors import Poison
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused
from refunds.decide import machine, owing
from refunds.decide.machine import Input
from refunds.gateway import Payments
from refunds.handlers.settling import settle
from refunds.model.refunds import Answer, Refund, State
from refunds.model.requests import Destination
from refunds.store import refunds as store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submitting:
    """Commands about one refund, of which one is under way at a time."""

    outbox: Outbox
    payments: Payments
    credit_kept: timedelta | None = None
    """How long store credit that is given may be used; None: for ever."""

    async def submit(self, call: Call, message: said.SubmitRefund) -> None:
        """Command: ask Stripe for the refund, or checkout for store credit."""
        refund = await self._begin(message)
        if refund is None:
            return
        answer = await self._ask(refund)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            await settle(tx, refund, answer)

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
            if refund.destination == Destination.STORE_CREDIT:
                await self._issue_credit(tx, refund)
                return None
            return replace(submitted, first_submitted_at=refund.first_submitted_at)

    async def _issue_credit(self, tx: Transaction, refund: Refund) -> None:
        """Checkout gives it once for each refund, however often it is told."""
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
                expires_at=since + self.credit_kept if self.credit_kept else None,
            )
        )

    async def credit_booked(self, tx: Transaction, message: checkout.StoreCreditBooked) -> None:
        """Checkout gave the store credit."""
        refund = await store.load_refund(tx.connection, message.refund_id)
        if refund is None or refund.destination != Destination.STORE_CREDIT:
            raise Poison("refund_unknown", "There is no such refund to store credit.")
        await settle(tx, refund, Answer("", Input.SUCCEEDED.value))

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
            await settle(tx, refund, answer)
