"""Refunds as Stripe tells of them: ours, and those that somebody made in its dashboard."""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from payments_shared.contracts import refunds as said
from payments_shared.contracts import stripe
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.failpoints import failpoint
from payments_shared.ids import parse_external_id
from payments_shared.messaging import Call, Outbox, Transaction
from refunds.decide import following, owing, saying, shares
from refunds.gateway import Payments
from refunds.handlers.making_up import owe_rest
from refunds.handlers.opening import open_request
from refunds.handlers.paying_back import owe
from refunds.handlers.settling import displace, settle
from refunds.model.heard import Heard
from refunds.model.refunds import Answer, Refund
from refunds.store import disputes, requests
from refunds.store import refunds as store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Following:
    """Folds what Stripe says, in any order and any number of times. Of payments that are not known yet it is kept, and
    folded once they are."""

    outbox: Outbox
    payments: Payments

    async def hear_refund(self, tx: Transaction, event: StripeEvent) -> None:
        """`refund.created`, `refund.updated`, `refund.failed`."""
        await fold(tx, _heard(stripe.Refund.model_validate(event.data.object)))

    async def hear_charge(self, tx: Transaction, event: StripeEvent) -> None:
        """`charge.refunded`: if it speaks of more than is known, Stripe is asked which refunds there are."""
        charge = stripe.Charge.model_validate(event.data.object)
        if charge.payment_intent is None:
            return
        payment = await store.load_payment(tx.connection, charge.payment_intent)
        if payment is None:
            return  # its refunds are told one by one as well, and kept
        if charge.amount_refunded > await store.told_minor(tx.connection, charge.payment_intent):
            command = said.FindRefunds(order_id=payment.order_id, payment_intent=charge.payment_intent)
            tx.announce(command)

    async def find(self, call: Call, message: said.FindRefunds) -> None:
        """Command: ask Stripe for all refunds of a payment."""
        found = await self.payments.list_refunds(message.payment_intent)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            for heard in found:
                await fold(tx, heard)


async def fold(tx: Transaction, heard: Heard) -> None:
    """Make a refund of Stripe's known."""
    answer = Answer(
        heard.stripe_refund_id, heard.status, heard.failure_reason, heard.pending_reason, heard.action_expires_at
    )
    refund = await store.find_refund(tx.connection, heard.stripe_refund_id)
    if refund is not None:
        await settle(tx, refund, answer)
        return
    payment = heard.payment_intent and await store.find_payment(tx.connection, heard.payment_intent)
    if not payment:
        await store.keep_heard(tx.connection, heard)
        return
    order = await store.lock_order(tx.connection, payment.order_id)
    await store.lock_payment(tx.connection, payment.payment_intent)
    if (refund := await _ours(tx, heard)) is not None:
        await settle(tx, refund, answer)
        return
    active = await store.list_active_of(tx.connection, payment.payment_intent)
    lost = await disputes.lost_minor(tx.connection, payment.payment_intent)
    displaced = following.displaced_by(heard, active, payment.captured_minor - lost)
    await displace(tx, order, displaced, "displaced by a refund in Stripe's dashboard")
    given = shares.given_of(await requests.list_active(tx.connection, payment.order_id))
    request, refund = following.external(heard, payment, order.bill, given)
    await open_request(tx, request, [refund])
    log.warning("refund.made_in_dashboard", refund_id=str(refund.id), stripe_refund_id=heard.stripe_refund_id)
    tx.announce(saying.asked(refund, order, request))
    await settle(tx, refund, answer)
    for one in displaced:
        if (cause := owing.still_owed(one, heard.stripe_refund_id)) is not None:
            await owe(tx, order, payment.payment_intent, cause)
    for one in displaced:
        await owe_rest(tx, order, one)


async def fold_kept(tx: Transaction, payment_intent: str) -> None:
    """Fold what was told of a payment before it was known."""
    for heard in await store.take_heard(tx.connection, payment_intent):
        await fold(tx, heard)


async def _ours(tx: Transaction, heard: Heard) -> Refund | None:
    """The refund that Stripe tells of, by its id, which another telling may have made known while this one waited for
    the lock of the order, or by ours in its metadata."""
    known = await store.find_refund(tx.connection, heard.stripe_refund_id)
    if known is not None or heard.refund_id is None:
        return known
    try:
        refund_id = parse_external_id("ref", heard.refund_id)
    except ValueError:
        return None
    found = await store.load_refund(tx.connection, refund_id)
    return found if found and following.is_answer_to(found, heard) else None


def _heard(told: stripe.Refund) -> Heard:
    shown = told.next_action.display_details if told.next_action else None
    expires = shown.expires_at if shown else None
    return Heard(
        stripe_refund_id=told.id,
        payment_intent=told.payment_intent,
        amount_minor=told.amount,
        currency=told.currency,
        status=told.status or "",
        failure_reason=told.failure_reason,
        refund_id=told.metadata.get("refund_id"),
        pending_reason=told.pending_reason,
        action_expires_at=datetime.fromtimestamp(expires, UTC) if expires is not None else None,
    )
