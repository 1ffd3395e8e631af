"""Money that was taken for orders that are not here: it is found at Stripe, and given back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from checkout.gateway import Takings
from checkout.model.losing import Buyer, Found, Lost, Taken
from checkout.store import losing as store
from payments_shared.contracts import checkout as said
from payments_shared.errors import Refused
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire, unavailable_as_retryable

RULE: Final = "order_unknown"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Losing:
    """Orders that were placed after the moment to which a backup was restored are lost; what was paid for them is
    Stripe's to tell."""

    outbox: Outbox
    takings: Takings

    async def found(self, since: datetime, cursor: str | None) -> Found:
        """The payments made since then whose orders are not here, the newest first; of some pages there are none. Of
        what is back already no buyer is looked up.

        Raises:
            Refused: 422 `cursor_unknown`.
            Refused, OutcomeUnknown: as `Takings`.
        """
        taken, seen, after = await self.takings.listed(since, cursor)
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                unknown = await store.list_unknown(connection, {one.order_id for one in taken})
                asked_for = await store.list_asked_for(connection, unknown)
        lost = [one for one in taken if one.order_id in unknown]
        found = zip(lost, await self.takings.buyers(lost), strict=True)
        return Found([Lost(one, buyer, one.payment_intent in asked_for) for one, buyer in found], seen, after)

    async def give_back(self, payment_intent: str, *, by: str, reason: str) -> Lost:
        """Have all that is left of a payment given back, once, however often it is asked for; what came back to us goes
        again. Where nothing is left only what Stripe gave back becomes known.

        Raises:
            Refused: 404: it took nothing for an order of ours. 409 `order_known`: its order is here.
            Refused, OutcomeUnknown: as `Takings`.
        """
        taken = await self.takings.one(payment_intent)
        if taken is None:
            raise Refused("not_found", "No such payment took money for an order of ours.", status=404)
        buyer = await self.takings.buyer(taken)
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                if not await store.list_unknown(tx.connection, [taken.order_id]):
                    raise Refused("order_known", "Its order is here; a refund gives its money back.")
                is_first = await store.give_back(tx.connection, taken, by, reason)
                if is_first or not taken.is_back:
                    tx.announce(_due(taken, buyer))
        log.warning("payment.given_back", payment_intent=payment_intent, order_id=taken.order_id, actor=by)
        return Lost(taken, buyer, asked_for=True)


def _due(taken: Taken, buyer: Buyer) -> said.OrderRefundDue:
    return said.OrderRefundDue(
        order_id=taken.order_id,
        payment_intent=taken.payment_intent,
        amount_minor=taken.amount_minor,
        currency=taken.currency,
        reason="canceled_order",
        rule=RULE,
        refunded_minor=taken.refunded_minor,
        customer=said.Customer(email=buyer.email, name=buyer.name) if buyer.email else None,
    )
