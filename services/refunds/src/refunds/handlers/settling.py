"""What Stripe, or checkout for store credit, says of a refund becomes what is known of it."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from payments_shared import metrics
from payments_shared.contracts import refunds as said
from payments_shared.messaging import Transaction
from refunds.decide import following, machine, owing, saying
from refunds.decide.machine import Input
from refunds.model.refunds import Answer, Order, Refund, State
from refunds.store import refunds as store
from refunds.store import requests

log = structlog.get_logger(__name__)


async def settle(tx: Transaction, refund: Refund, answer: Answer) -> None:
    """Fold an answer, whether it came to a question of ours or as an event, for the first time or again. The order is
    locked first, everywhere."""
    order = await store.lock_order(tx.connection, refund.order_id)
    current = await store.lock_refund(tx.connection, refund.id)
    assert current is not None  # noqa: S101 - refunds are never deleted
    if answer.stripe_refund_id and current.stripe_refund_id not in (None, answer.stripe_refund_id):
        # Something else at Stripe bears its name, and was told of while we asked: each is counted for itself.
        assert current.payment_intent is not None  # noqa: S101 - Stripe is asked for nothing else
        tx.announce(said.FindRefunds(order_id=current.order_id, payment_intent=current.payment_intent))
        return
    received = machine.input_of(answer)
    known = replace(answer, stripe_refund_id=answer.stripe_refund_id or current.stripe_refund_id or "")
    after = machine.step(current, received, known)
    after = replace(after, stripe_refund_id=after.stripe_refund_id or None)
    await store.conclude_refund(tx.connection, current, after, f"stripe:{answer.status}")
    if (after.state, after.pending_reason) == (current.state, current.pending_reason):
        return
    assert current.request_id is not None  # noqa: S101 - the column holds no null
    request = await requests.load_request(tx.connection, current.request_id)
    assert request is not None  # noqa: S101 - a foreign key
    if (waits := saying.waiting(after, order, request)) is not None:
        tx.announce(waits)
    if after.state is current.state:
        return
    if after.state is State.SUCCEEDED and after.destination == "original":
        await store.watch(tx.connection, refund.id, owing.WATCHED, owing.RECHECK)
    metrics.REFUNDS.labels(after.state.value).inc()
    if after.state in (State.SUCCEEDED, State.FAILED):
        metrics.REFUNDED_MINOR.labels(metrics.currency(after.currency), after.state.value).inc(after.amount_minor)
    if after.state is State.FAILED:
        log.error("refund.failed", refund_id=str(after.id), reason=after.failure_reason)
    if (message := saying.settled(after, order, request)) is not None:
        tx.announce(message)


async def postpone(tx: Transaction, refund: Refund) -> None:
    """Stripe refuses it because of a dispute: it waits, and Stripe is asked which disputes there are. What it answered
    may be kept under the key, so the next try goes under another."""
    await store.lock_order(tx.connection, refund.order_id)
    current = await store.lock_refund(tx.connection, refund.id)
    assert current is not None  # noqa: S101 - refunds are never deleted
    after = machine.step(current, Input.DISPUTED)
    await store.update_refund(tx.connection, current, after, "stripe:charge_disputed")
    if after.state is not State.APPROVED:
        return
    await store.bump_stripe_attempt(tx.connection, refund)
    log.warning("refund.postponed", refund_id=str(refund.id))
    assert refund.payment_intent is not None  # noqa: S101 - Stripe is asked for nothing else
    tx.announce(said.FindDisputes(order_id=refund.order_id, payment_intent=refund.payment_intent, refund_id=refund.id))


async def displace(tx: Transaction, order: Order, refunds: Sequence[Refund], cause: str) -> None:
    """Cancel refunds that no longer fit, and of which Stripe knows nothing. A request that waits for a second person is
    canceled whole."""
    waiting = {refund.request_id for refund in refunds if refund.state is State.AWAITING_APPROVAL and refund.request_id}
    parts = await requests.refunds_of(tx.connection, sorted(waiting)) if waiting else {}
    for refund in following.with_waiting_parts(refunds, [part for found in parts.values() for part in found]):
        after = machine.step(refund, Input.DISPLACED)
        await store.conclude_refund(tx.connection, refund, after, cause)
        assert refund.request_id is not None  # noqa: S101 - the column holds no null
        request = await requests.load_request(tx.connection, refund.request_id)
        assert request is not None  # noqa: S101 - a foreign key
        if (message := saying.settled(after, order, request)) is not None:
            tx.announce(message)
