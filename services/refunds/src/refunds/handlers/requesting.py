"""People ask for money to go back, and see what became of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from payments_shared import idempotency, metrics
from payments_shared.errors import Refused
from payments_shared.idempotency import Key, Replay
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import acquire
from refunds.decide import asking, ruling, saying, shares
from refunds.decide.asking import Asked, Known
from refunds.handlers.opening import open_request
from refunds.handlers.ruling import current_rules
from refunds.model.refunds import Order, Refund, State, Step
from refunds.model.requests import Request, Search
from refunds.model.rules import Standing
from refunds.store import refunds as store
from refunds.store import requests


@dataclass(frozen=True, slots=True)
class View:
    """A request as it stands, with its refunds; `refundable_minor` of its order."""

    request: Request
    refunds: Sequence[Refund]
    refundable_minor: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered, the first time and again."""

    status: int
    body: bytes
    replayed: bool = False


Render = Callable[[View], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Requesting:
    """One transaction decides, under the lock of the order: of two requests at once the second sees the first."""

    outbox: Outbox

    async def request(self, asked: Asked, key: Key, render: Render) -> Answer:
        """Ask for a refund. The answer is kept with the key in the transaction that makes it: there is nothing between
        them that a crash could lose.

        Raises:
            Refused: as `asking.requested` says; nothing is kept then.
        """
        async with self.outbox.transaction() as tx:
            match await idempotency.claim(tx.connection, key):
                case Replay(status=status, body=body):
                    return Answer(status, body, replayed=True)
            view = await self._open(tx, asked)
            body = json.dumps(render(view), separators=(",", ":")).encode()
            await idempotency.finish(tx.connection, key, status=201, body=body)
        metrics.REFUNDS.labels("awaiting_approval" if view.request.needs else "approved").inc()
        return Answer(201, body)

    async def _open(self, tx: Transaction, asked: Asked) -> View:
        known = await known_of(tx, asked.order_id)
        standing = await self._standing(tx, asked, known.order)
        request, refunds = asking.requested(new_id(), asked, known, standing)
        await open_request(tx, request, refunds)
        for refund in refunds:
            tx.announce(saying.asked(refund, known.order, request))
            if refund.state is State.APPROVED:
                for message in saying.agreed(refund, known.order, request):
                    tx.announce(message)
        before = shares.refundable(asking.tenders_of(known.order, known.payments, known.spent))
        return View(request, refunds, before - request.amount_minor)

    async def _standing(self, tx: Transaction, asked: Asked, order: Order) -> Standing:
        email = (order.customer or {}).get("email") or ""
        currency = asking.bill_of(order).currency
        windows = (ruling.OPERATOR_WINDOW, ruling.CUSTOMER_WINDOW)
        return await requests.load_standing(tx.connection, (asked.requester.subject, email), currency, windows)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def show(self, request_id: UUID) -> tuple[View, Sequence[Step]]:
        """A request with its history.

        Raises:
            Refused: 404 `not_found`.
        """
        async with acquire(self.outbox.pool) as connection:
            request = await requests.load_request(connection, request_id)
            if request is None:
                raise Refused("not_found", "There is no such refund.", status=404)
            refunds = (await requests.refunds_of(connection, [request_id]))[request_id]
            history = await requests.list_history(connection, request_id)
            order = await store.load_order(connection, request.order_id)
            left = 0
            if order is not None and order.bill is not None:
                payments = await store.list_payments(connection, order.order_id)
                spent = await store.active_by_tender(connection, order.order_id)
                left = shares.refundable(asking.tenders_of(order, payments, spent))
        return View(request, refunds, left), history

    async def search(self, search: Search, limit: int) -> tuple[list[tuple[Request, Sequence[Refund]]], bool]:
        """A page of requests with their refunds, the newest first, and whether there are more."""
        async with acquire(self.outbox.pool) as connection:
            found = await requests.list_requests(connection, search, limit + 1)
            page = found[:limit]
            refunds = await requests.refunds_of(connection, [request.id for request in page])
        return [(request, refunds[request.id]) for request in page], len(found) > limit


async def known_of(tx: Transaction, order_id: UUID) -> Known:
    """What is known of an order, locked with its payments.

    Raises:
        Refused: 404 `order_not_found`.
    """
    if await store.load_order(tx.connection, order_id) is None:
        raise Refused("order_not_found", "There is no such order that was paid.", status=404)
    order = await store.lock_order(tx.connection, order_id)
    payments = await store.lock_payments(tx.connection, order_id)
    return Known(
        order=order,
        payments=payments,
        spent=await store.active_by_tender(tx.connection, order_id),
        given=shares.given_of(await requests.list_active(tx.connection, order_id)),
        rules=await current_rules(tx.connection),
        now=await store.business_now(tx.connection),
    )
