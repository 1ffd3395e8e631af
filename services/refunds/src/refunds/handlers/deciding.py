"""A second person agrees to a request, or refuses it; it is taken back while Stripe was not asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from payments_shared import metrics
from payments_shared.messaging import Outbox, Transaction
from payments_shared.switches import Switch, refuse_while_stopped
from refunds.decide import approving, asking, machine, saying, shares, withdrawing
from refunds.decide.approving import Agreed
from refunds.decide.asking import Known
from refunds.decide.machine import Input
from refunds.decide.withdrawing import Taker
from refunds.handlers.making_up import owe_rest
from refunds.handlers.requesting import STOPPED, View, blocked_of, known_of, known_request, locked_order, view_of
from refunds.model.bills import Tender
from refunds.model.refunds import Order, Refund, State
from refunds.model.requests import Person, Request
from refunds.store import refunds as store
from refunds.store import requests

Check = Callable[[Request, Order], None]


@dataclass(frozen=True, slots=True)
class Deciding:
    """Each decides about all refunds of a request together, under the lock of its order."""

    outbox: Outbox

    async def approve(self, request_id: UUID, person: Person, agreed: Agreed, note: str) -> View:
        """Let the money go back.

        Raises:
            Refused: 404 `not_found`, 403 `own_request` or `own_order`, 409 `refund_changed`, `already_decided` or
                `amount_exceeds_refundable`.
            Retryable: `refunds_stopped`.
        """

        def check(request: Request, order: Order) -> None:
            approving.check_second(request, order, person)
            approving.check_agreed(request, agreed)

        return await self._decide(request_id, person, note, Input.APPROVED, check)

    async def reject(self, request_id: UUID, person: Person, note: str) -> View:
        """Refuse a request.

        Raises:
            Refused: 404 `not_found`, 403 `own_request` or `own_order`, 409 `already_decided`.
        """

        def check(request: Request, order: Order) -> None:
            approving.check_second(request, order, person)

        return await self._decide(request_id, person, note, Input.REJECTED, check)

    async def withdraw(self, request_id: UUID, taker: Taker) -> View:
        """Take back a request that nobody has decided about, or one that was agreed to and is put off. Who puts its
        refunds off, or takes them up again, locks them, too: of the two, one comes first.

        Raises:
            Refused: 404 `not_found`; else as `withdrawing.taken_back` says.
        """
        async with self.outbox.transaction() as tx:
            order = await locked_order(tx, (await known_request(tx.connection, request_id)).order_id)
            known = await known_request(tx.connection, request_id)  # as it is under the lock
            refunds = await requests.lock_refunds_of(tx.connection, request_id)
            put_off = await store.list_put_off(tx.connection, [refund.id for refund in refunds])
            ending = withdrawing.taken_back(known, refunds, put_off, taker)
            request = withdrawing.after(known, refunds, taker)
            await requests.decide_request(tx.connection, request)
            ended = {refund.id: machine.step(refund, Input.WITHDRAWN) for refund in ending}
            for refund in ending:
                await store.update_refund(tx.connection, refund, ended[refund.id], taker.cause, taker.person.subject)
                tx.announce(saying.withdrawn(ended[refund.id], order, request, taker.person.subject))
            for refund in ending:
                await owe_rest(tx, order, refund)
            view = await view_of(tx.connection, request, [ended.get(refund.id, refund) for refund in refunds])
        metrics.REFUNDS.labels(State.CANCELED.value).inc()
        return view

    async def _decide(self, request_id: UUID, person: Person, note: str, received: Input, check: Check) -> View:
        async with self.outbox.transaction() as tx:
            if received is Input.APPROVED:
                await refuse_while_stopped(tx.connection, Switch.REFUNDS, STOPPED)
            order_id = (await known_request(tx.connection, request_id)).order_id
            known, _ = await known_of(tx, await locked_order(tx, order_id), person)
            request = await known_request(tx.connection, request_id)  # as it is under the lock
            refunds = (await requests.refunds_of(tx.connection, [request_id]))[request_id]
            check(request, known.order)
            approving.check_waiting(refunds)
            if received is Input.APPROVED:
                approving.check_fits(refunds, _tenders(known, known.spent))
            request = replace(request, version=request.version + 1, decided_by=person, decision_note=note)
            await requests.decide_request(tx.connection, request)
            if received is Input.APPROVED:
                await requests.approve_refunds(tx.connection, request_id, person.subject)
            cause = f"{received} by {person.subject}"
            after = [await self._step(tx, refund, received, person, cause) for refund in refunds]
            for refund in after:
                self._announce(tx, refund, known.order, request)
            for refund in after:
                if refund.state is State.REJECTED:
                    await owe_rest(tx, known.order, refund)
            tenders = _tenders(known, await store.active_by_tender(tx.connection, order_id))
            blocked = await blocked_of(tx.connection, after)
        metrics.REFUNDS.labels(after[0].state.value).inc()
        return View(request, after, shares.refundable(tenders), shares.disputed(tenders), blocked)

    async def _step(self, tx: Transaction, refund: Refund, received: Input, person: Person, cause: str) -> Refund:
        after = machine.step(refund, received)
        if received is Input.APPROVED:
            after = replace(after, approver=person.subject)
        await store.update_refund(tx.connection, refund, after, cause, person.subject)
        return after

    def _announce(self, tx: Transaction, refund: Refund, order: Order, request: Request) -> None:
        if refund.state is State.APPROVED:
            for message in saying.agreed(refund, order, request):
                tx.announce(message)
        elif (said := saying.settled(refund, order, request)) is not None:
            tx.announce(said)


def _tenders(known: Known, spent: Mapping[str, int]) -> list[Tender]:
    return asking.tenders_of(known.order, known.payments, spent, known.withheld)
