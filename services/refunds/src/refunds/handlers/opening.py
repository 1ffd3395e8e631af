"""A request and its refunds come into being together."""

from collections.abc import Iterator, Sequence

from payments_shared.messaging import Transaction
from refunds.decide.asking import POLICY
from refunds.model.refunds import Begun, Refund, State
from refunds.model.requests import Request
from refunds.store import requests


async def open_request(tx: Transaction, request: Request, refunds: Sequence[Refund]) -> bool:
    """Save a request with its refunds and the beginning of their history; False when it is known."""
    history = [step for refund in refunds for step in _beginning(request, refund)]
    return await requests.open_request(tx.connection, request, refunds, history)


def _beginning(request: Request, refund: Refund) -> Iterator[Begun]:
    if refund.state is State.AWAITING_APPROVAL:
        policy = POLICY.format(version=request.rules_version)
        yield Begun(refund.id, None, State.REQUESTED, refund.reason, request.requester.subject)
        yield Begun(refund.id, State.REQUESTED, refund.state, f"needs {', '.join(request.needs)}", policy)
    else:
        agreed = request.decided_by.subject if request.decided_by else None
        yield Begun(refund.id, None, refund.state, refund.reason, agreed)
