"""Asking Stripe for a refund, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from payments_shared.contracts import refunds as said
from payments_shared.errors import Poison
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused
from payments_shared.switches import Switch, is_stopped
from refunds.decide import following, machine, owing
from refunds.decide.machine import Input
from refunds.gateway import Payments
from refunds.handlers.crediting import issue
from refunds.handlers.disputing import fold_disputes
from refunds.handlers.following import fold
from refunds.handlers.paying_back import owe
from refunds.handlers.settling import postpone, settle
from refunds.model.heard import Heard
from refunds.model.refunds import Answer, Refund, State
from refunds.model.requests import Destination
from refunds.store import disputes
from refunds.store import refunds as store

CHARGE_DISPUTED: Final = "charge_disputed"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submitting:
    """Commands about one refund, of which one is under way at a time.

    While refunds are stopped `submit` alone is put off: the queue goes on, since what Stripe knows is learned by it as
    well, and evidence handed in.
    """

    outbox: Outbox
    payments: Payments
    credit_kept: timedelta | None = None
    """How long store credit that is given may be used; None: for ever."""

    async def submit(self, call: Call, message: said.SubmitRefund) -> None:
        """Command: ask Stripe for the refund, or checkout for store credit."""
        async with acquire(self.outbox.pool) as connection:
            seen = await store.load_refund(connection, message.refund_id)
        if seen is not None and seen.becomes_credit and seen.state is State.APPROVED:
            await self._turn_into_credit(call, message, seen)
            return
        async with self.outbox.transaction() as tx:
            refund = await self._begin(tx, message)
        if refund is None:
            return
        answer = await self._ask(refund)
        assert refund.payment_intent is not None  # noqa: S101 - Stripe is asked for nothing else
        is_refused = answer.status == Input.FAILED and not answer.stripe_refund_id
        made = await self.payments.list_refunds(refund.payment_intent) if is_refused else []
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            if answer.status == Input.DISPUTED:
                await postpone(tx, refund)
            elif is_refused:
                await _refused(tx, refund, answer, made)
            else:
                await settle(tx, refund, answer)

    async def _turn_into_credit(self, call: Call, message: said.SubmitRefund, seen: Refund) -> None:
        """Stripe refunds no payment that a bank disputes, and is not asked for this refund: so it is asked which
        disputes there are, of which no event may have come yet, before anything is given."""
        assert seen.payment_intent is not None  # noqa: S101 - as `becomes_credit` says
        async with acquire(self.outbox.pool) as connection:
            await store.mark_attempt(connection, seen.id)
            asked_at = await disputes.question_time(connection)
        found = await self.payments.list_disputes(seen.payment_intent)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            await fold_disputes(tx, seen.order_id, seen.payment_intent, found, asked_at)
            await self._begin(tx, message)

    async def _begin(self, tx: Transaction, message: said.SubmitRefund) -> Refund | None:
        """The refund to ask Stripe for; None where there is nothing to ask: it waits, went on, or becomes store
        credit. Its row is written once, so that nobody who has the order's lock is waited for."""
        refund = await store.lock_refund(tx.connection, message.refund_id)
        if refund is None:
            raise Poison("refund_unknown", "There is no such refund.")
        if refund.state not in (State.APPROVED, State.SUBMITTED):
            return None
        if await disputes.blocked_refunds(tx.connection, [refund.id]):
            await store.mark_answered(tx.connection, refund.id)
            return None  # it goes on when the dispute is decided
        if await is_stopped(tx.connection, Switch.REFUNDS):
            await store.put_off(tx.connection, refund.id)
            return None  # it goes on when the switch is open
        submitted = machine.step(refund, Input.SUBMITTED)
        await store.submit_refund(tx.connection, refund)
        if refund.destination == Destination.STORE_CREDIT:
            await issue(tx, refund, self.credit_kept)
            return None
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
            known = await self.payments.find(refund)
            refused = Input.DISPUTED if refusal.code == CHARGE_DISPUTED else Input.FAILED
            return known or Answer("", refused.value, refusal.code)
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


async def _refused(tx: Transaction, refund: Refund, answer: Answer, made: Sequence[Heard]) -> None:
    """Stripe refused a refund, and has made these of its payment, of which no event may have come yet: they become
    known. What they leave of what the system owes is owed in its place, so that nobody need pay another way."""
    assert refund.payment_intent is not None  # noqa: S101 - Stripe is asked for nothing else
    order = await store.lock_order(tx.connection, refund.order_id)
    payment = await store.lock_payment(tx.connection, refund.payment_intent)
    assert payment is not None  # noqa: S101 - a foreign key
    rest = owing.rest_of(refund, payment, following.back_minor(made))
    await settle(tx, refund, replace(answer, status=Input.CANCELED.value) if rest else answer)
    for heard in made:
        await fold(tx, heard)
    if rest is not None:
        await owe(tx, order, refund.payment_intent, rest)
