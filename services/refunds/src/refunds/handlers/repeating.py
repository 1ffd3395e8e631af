"""What the system owes is paid once more, where the refund that paid it, or took its room, has come to nothing."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from payments_shared.errors import Refused
from payments_shared.ids import external_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.switches import Switch, refuse_while_stopped
from refunds.decide import owing
from refunds.decide.debts import all_unpaid
from refunds.handlers.making_up import owed_beside
from refunds.handlers.paying_back import owe_again
from refunds.handlers.requesting import STOPPED, View, known_request, locked_order, view_of
from refunds.model.refunds import Order, Refund
from refunds.model.requests import Person, Request
from refunds.store import requests

NOTHING_LEFT: Final = "Nothing of the payment is left to give back."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Repeating:
    """For money of which there is no bill that staff could refund: a surplus, or what was paid for a canceled order."""

    outbox: Outbox

    async def again(self, refund_id: UUID, asker: Person, note: str) -> View:
        """The refund that pays it now, the first where there are more; asked again, the same one, until it has come to
        nothing as well.

        Raises:
            Refused: 404 `not_found`, 409 `nothing_refundable`; else as `owing.asked_again` says.
            Retryable: `refunds_stopped`.
        """
        async with self.outbox.transaction() as tx:
            await refuse_while_stopped(tx.connection, Switch.REFUNDS, STOPPED)
            order = await locked_order(tx, (await known_request(tx.connection, refund_id)).order_id)
            parts = (await requests.refunds_of(tx.connection, [refund_id]))[refund_id]
            found = [
                request for part in owing.ended_of(parts) for request in await _paid_again(tx, order, part, asker, note)
            ]
            if not found:
                raise Refused("nothing_refundable", NOTHING_LEFT, extra={"refundable": 0})
            first = found[0]
            refunds = (await requests.refunds_of(tx.connection, [first.id]))[first.id]
            view = await view_of(tx.connection, first, refunds)
        for request in found:
            log.info("refund.asked_again", refund_id=external_id("ref", request.id), actor=asker.subject)
        return view


async def _paid_again(tx: Transaction, order: Order, ended: Refund, asker: Person, note: str) -> list[Request]:
    """The requests that pay now what the system owes of the payment that `ended` was of."""
    owed = await owed_beside(tx, order, ended)
    causes = owing.asked_again(ended, all_unpaid(owed.payment, owed.debts, owed.attempts), asker, note)
    paying = [await owe_again(tx, order, owed.payment.payment_intent, cause) for cause in causes]
    found = [await requests.load_request(tx.connection, one) for one in paying]
    return [request for request in found if request is not None]
