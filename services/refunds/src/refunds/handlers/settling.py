"""What Stripe, or checkout for store credit, says of a refund becomes what is known of it."""

from dataclasses import replace

import structlog

from payments_shared import metrics
from payments_shared.messaging import Transaction
from refunds.decide import machine, owing, saying
from refunds.model.refunds import Answer, Refund, State
from refunds.store import refunds as store
from refunds.store import requests

log = structlog.get_logger(__name__)


async def settle(tx: Transaction, refund: Refund, answer: Answer) -> None:
    """Fold an answer, whether it came to a question of ours or as an event, for the first time or again. The order is
    locked first, everywhere."""
    order = await store.lock_order(tx.connection, refund.order_id)
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
    if after.state is State.SUCCEEDED and after.destination == "original":
        await store.watch(tx.connection, refund.id, owing.WATCHED, owing.RECHECK)
    metrics.REFUNDS.labels(after.state.value).inc()
    if after.state is State.FAILED:
        log.error("refund.failed", refund_id=str(after.id), reason=after.failure_reason)
    assert current.request_id is not None  # noqa: S101 - the column holds no null
    request = await requests.load_request(tx.connection, current.request_id)
    assert request is not None  # noqa: S101 - a foreign key
    if (message := saying.settled(after, order, request)) is not None:
        tx.announce(message)
