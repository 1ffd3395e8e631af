"""Whose payment it was that Stripe suspects: reviews and warnings name no order, so Stripe is asked."""

from dataclasses import dataclass

import structlog

from checkout.gateway import Payments
from checkout.handlers.facts import Facts
from payments_shared.contracts import checkout as said
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Call

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attributing:
    """One command."""

    facts: Facts
    payments: Payments

    async def find_order(self, call: Call, message: said.FindOrder) -> None:
        """Command: ask for the payment, which names its order, and fold the event into that.

        A payment that names none was taken by somebody else with the same account.

        Raises:
            Retryable: the order is not here (yet), or Stripe does not answer.
        """
        payment_intent, order_id = await self.payments.order_of(message.payment)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            if order_id is None or payment_intent is None:
                log.warning("suspicion.not_ours", payment=message.payment, type=message.event.type)
            else:
                await self.facts.find_order(tx, order_id, payment_intent, message.event)
