"""A request and its refunds come into being together."""

from collections.abc import Sequence

from payments_shared.messaging import Transaction
from refunds.model.refunds import Refund, State
from refunds.model.requests import Request
from refunds.store import refunds as store
from refunds.store import requests


async def open_request(tx: Transaction, request: Request, refunds: Sequence[Refund]) -> bool:
    """Save a request with its refunds and the beginning of their history; False when it is known."""
    if not await requests.insert_request(tx.connection, request):
        return False
    for refund in refunds:
        await store.insert_refund(tx.connection, refund)
        if refund.state is State.AWAITING_APPROVAL:
            await store.record_transition(tx.connection, refund.id, None, State.REQUESTED, refund.reason)
            cause = f"needs {', '.join(request.needs)}"
            await store.record_transition(tx.connection, refund.id, State.REQUESTED, refund.state, cause)
        else:
            await store.record_transition(tx.connection, refund.id, None, refund.state, refund.reason)
    return True
