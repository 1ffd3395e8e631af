"""What the system owes is paid once more, where the refund that paid it has come to nothing."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from payments_shared.errors import Refused
from payments_shared.ids import external_id
from payments_shared.messaging import Outbox
from payments_shared.switches import Switch, refuse_while_stopped
from refunds.decide import owing
from refunds.handlers.paying_back import owe_again
from refunds.handlers.requesting import STOPPED, View, known_request, locked_order, view_of
from refunds.model.requests import Person
from refunds.store import requests

NOTHING_LEFT: Final = "Nothing of the payment is left to give back."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Repeating:
    """For money of which there is no bill that staff could refund: a surplus, or what was paid for a canceled order."""

    outbox: Outbox

    async def again(self, refund_id: UUID, asker: Person, note: str) -> View:
        """The refund that pays it now; asked again, the same one, until it has come to nothing as well.

        Raises:
            Refused: 404 `not_found`, 409 `nothing_refundable`; else as `owing.asked_again` says.
            Retryable: `refunds_stopped`.
        """
        async with self.outbox.transaction() as tx:
            await refuse_while_stopped(tx.connection, Switch.REFUNDS, STOPPED)
            order = await locked_order(tx, (await known_request(tx.connection, refund_id)).order_id)
            (ended, *_) = (await requests.refunds_of(tx.connection, [refund_id]))[refund_id]
            cause = owing.asked_again(ended, asker, note)
            assert ended.payment_intent is not None  # noqa: S101 - `asked_again` saw to it
            paying = await owe_again(tx, order, ended.payment_intent, cause)
            request = await requests.load_request(tx.connection, paying)
            if request is None:
                raise Refused("nothing_refundable", NOTHING_LEFT, extra={"refundable": 0})
            refunds = (await requests.refunds_of(tx.connection, [paying]))[paying]
            view = await view_of(tx.connection, request, refunds)
        log.info("refund.asked_again", refund_id=external_id("ref", paying), actor=asker.subject)
        return view
