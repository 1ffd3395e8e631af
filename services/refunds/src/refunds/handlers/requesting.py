"""People ask for money to go back, and see what became of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from payments_shared import idempotency, metrics
from payments_shared.clock import monotonic_seconds
from payments_shared.errors import Refused
from payments_shared.idempotency import Key, Replay
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import Connection, acquire
from payments_shared.switches import Switch, refuse_while_stopped
from refunds.decide import asking, ruling, saying, shares
from refunds.decide.asking import Asked, Known
from refunds.handlers.opening import open_request
from refunds.model.bills import Tender
from refunds.model.refunds import Order, Refund, State, Step
from refunds.model.requests import Destination, Person, Request, Search
from refunds.model.rules import Standing
from refunds.store import disputes, requests
from refunds.store import refunds as store
from refunds.store.patterns import load_patterns

STOPPED: Final = "No money goes back at the moment."


@dataclass(frozen=True, slots=True)
class View:
    """A request as it stands, with its refunds; `refundable_minor` of its order, and what disputes withhold of that.
    `blocked`: refunds that wait, and why: `disputed`, for a dispute to be decided, or `stopped`, for the switch."""

    request: Request
    refunds: Sequence[Refund]
    refundable_minor: int
    disputed_minor: int = 0
    blocked: Mapping[UUID, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """A request in a list, with its refunds; `blocked` as in `View`."""

    request: Request
    refunds: Sequence[Refund]
    blocked: Mapping[UUID, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered, the first time and again. `decided_in_seconds`: how long its order was locked."""

    status: int
    body: bytes
    replayed: bool = False
    decided_in_seconds: float | None = None


Render = Callable[[View], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Requesting:
    """One transaction decides, under the locks of the order, of whoever asks and of the buyer: of two requests at once
    the second sees the first."""

    outbox: Outbox

    async def request(self, asked: Asked, key: Key, render: Render) -> Answer:
        """Ask for a refund. The answer is kept with the key in the transaction that makes it: there is nothing between
        them that a crash could lose.

        Raises:
            Refused: as `asking.requested` says; nothing is kept then.
            Retryable: `refunds_stopped`; nor then: the same key asks again once the switch is open.
        """
        async with self.outbox.transaction() as tx:
            match await idempotency.claim(tx.connection, key):
                case Replay(status=status, body=body):
                    return Answer(status, body, replayed=True)
            await refuse_while_stopped(tx.connection, Switch.REFUNDS, STOPPED)
            # Before anything is locked: it advises, and counts no money.
            patterns, charges = await load_patterns(tx.connection, asked.order_id, asked.requester.subject)
            order = await locked_order(tx, asked.order_id)
            held_since = monotonic_seconds()
            await requests.lock_standing(tx.connection, order, asked.requester)
            known, standing = await known_of(tx, order, asked.requester)
            view = await self._open(tx, asked, replace(known, patterns=patterns, charges=charges), standing)
            body = json.dumps(render(view), separators=(",", ":")).encode()
            await idempotency.finish(tx.connection, key, status=201, body=body)
        decided_in = monotonic_seconds() - held_since
        metrics.REFUND_DECISION_SECONDS.observe(decided_in)
        metrics.REFUNDS.labels("awaiting_approval" if view.request.needs else "approved").inc()
        return Answer(201, body, decided_in_seconds=decided_in)

    async def _open(self, tx: Transaction, asked: Asked, known: Known, standing: Standing) -> View:
        request, refunds = asking.requested(new_id(), asked, known, standing)
        await open_request(tx, request, refunds)
        for refund in refunds:
            tx.announce(saying.asked(refund, known.order, request))
            if refund.state is State.APPROVED:
                for message in saying.agreed(refund, known.order, request):
                    tx.announce(message)
        tenders = asking.tenders_of(known.order, known.payments, known.spent, known.withheld)
        left = shares.refundable(tenders) - request.amount_minor
        may_wait = (
            known.withheld or asked.destination is Destination.STORE_CREDIT
        )  # for an inquiry, which withholds nothing
        blocked = await blocked_of(tx.connection, refunds) if may_wait else {}
        return View(request, refunds, left, shares.disputed(tenders), blocked)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def show(self, request_id: UUID) -> tuple[View, Sequence[Step]]:
        """A request with its history.

        Raises:
            Refused: 404 `not_found`.
        """
        async with acquire(self.outbox.pool) as connection:
            request = await known_request(connection, request_id)
            refunds = (await requests.refunds_of(connection, [request_id]))[request_id]
            history = await requests.list_history(connection, request_id)
            return await view_of(connection, request, refunds), history

    async def search(self, search: Search, limit: int) -> tuple[list[Listed], bool]:
        """A page of requests with their refunds, the newest first, and whether there are more."""
        async with acquire(self.outbox.pool) as connection:
            found = await requests.list_requests(connection, search, limit + 1)
            page = found[:limit]
            refunds = await requests.refunds_of(connection, [request.id for request in page])
            blocked = await blocked_of(connection, [refund for parts in refunds.values() for refund in parts])
        return [Listed(request, refunds[request.id], blocked) for request in page], len(found) > limit


async def known_request(connection: Connection, request_id: UUID) -> Request:
    """A request.

    Raises:
        Refused: 404 `not_found`.
    """
    request = await requests.load_request(connection, request_id)
    if request is None:
        raise Refused("not_found", "There is no such refund.", status=404)
    return request


async def locked_order(tx: Transaction, order_id: UUID) -> Order:
    """What is known of an order, locked with its payments.

    Raises:
        Refused: 404 `order_not_found`.
    """
    order = await store.lock_order_and_payments(tx.connection, order_id)
    if order is None:
        raise Refused("order_not_found", "There is no such order that was paid.", status=404)
    return order


async def known_of(tx: Transaction, order: Order, requester: Person) -> tuple[Known, Standing]:
    """What a decision about an order is made of, which is locked: a statement of its own, begun under the lock."""
    windows = (ruling.OPERATOR_WINDOW, ruling.CUSTOMER_WINDOW)
    position = await requests.read_position(tx.connection, order, requester, windows)
    known = Known(
        order=order,
        payments=position.payments,
        spent=position.spent,
        withheld=position.withheld,
        given=shares.given_of(position.active),
        rules=position.rules or ruling.DEFAULT_RULES,
        now=position.now,
        others_rules=position.others_rules or ruling.DEFAULT_RULES,
    )
    return known, position.standing


async def view_of(connection: Connection, request: Request, refunds: Sequence[Refund]) -> View:
    """A request with its refunds, and what is left of its order; exact only under the lock of that."""
    order = await store.load_order(connection, request.order_id)
    tenders: Sequence[Tender] = ()
    if order is not None and order.bill is not None:
        payments = await store.list_payments(connection, order.order_id)
        spent = await store.active_by_tender(connection, order.order_id)
        withheld = await disputes.withheld_by_payment(connection, order.order_id)
        tenders = asking.tenders_of(order, payments, spent, withheld)
    blocked = await blocked_of(connection, refunds)
    return View(request, refunds, shares.refundable(tenders), shares.disputed(tenders), blocked)


async def blocked_of(connection: Connection, refunds: Sequence[Refund]) -> Mapping[UUID, str]:
    """Those of `refunds` that wait until a dispute is decided, or refunds are stopped no more, and which of the two."""
    unasked = [refund for refund in refunds if refund.state in (State.APPROVED, State.SUBMITTED)]
    if not unasked:
        return {}
    put_off = await store.list_put_off(connection, [refund.id for refund in unasked])
    payable = [refund.id for refund in unasked if refund.state is State.APPROVED and refund.payment_intent]
    disputed = await disputes.blocked_refunds(connection, payable) if payable else ()
    return {**dict.fromkeys(put_off, "stopped"), **dict.fromkeys(disputed, "disputed")}
