"""A buyer changes his mind before he has paid."""

from dataclasses import dataclass
from uuid import UUID

import structlog

from checkout.decide import order as rules
from checkout.gateway import Payments
from checkout.handlers.facts import Facts
from checkout.handlers.splitting import Splitting
from checkout.model.facts import EndAsked, Fact
from checkout.model.orders import Order, State
from checkout.store import orders as store
from payments_shared.errors import Refused, Retryable
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Outbox
from payments_shared.stripe_client import StripeRefused

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Canceling:
    """The page to pay at is closed at Stripe first. So a payment that is quicker than the wish wins, and no money comes
    for an order that its buyer was told is gone."""

    outbox: Outbox
    facts: Facts
    payments: Payments

    async def cancel(self, order: Order) -> Order:
        """End `order`, give back its stock and its use of a coupon, and return it as it is then. Asking again changes
        nothing.

        Raises:
            Refused: 409 `order_not_cancelable`: it is paid, or its payment is on its way. 502 `stripe_refused`.
            Retryable: it is being placed at this moment, or Stripe does not answer.
        """
        return await self.end(order, "buyer")

    async def end(self, order: Order, reason: str) -> Order:
        """As `cancel`, for the `reason` that is told with `order.canceled`."""
        if order.state in (State.CANCELED, State.EXPIRED):
            return order
        if not rules.may_end(order):
            raise _too_late(order)
        if (order.stripe_session_id or order.stripe_payment_intent) is None:
            raise Retryable("order_in_progress", "The order is being placed; ask again in a moment.")
        # Stripe tells of the closed page before we come to say why: without this it would be heard as an expiry.
        order = await self._ask_to_end(order.id, reason)
        try:
            closed = await self._close(order)
        except StripeRefused as refusal:
            log.error("order.not_canceled", order_id=order.id, code=refusal.code)
            raise Refused("stripe_refused", "The payment provider refused.", status=502) from refusal
        failpoint("after_stripe_call")
        order = closed if isinstance(closed, Order) else await self._learn(order.id, closed)
        if order.state in (State.PROCESSING, State.PAID):
            raise _too_late(order)
        return order

    async def _close(self, order: Order) -> Fact | Order:
        """Close what the order could be paid with; what became of that, or of the order."""
        if order.split is not None:
            return await Splitting(self.outbox, self.facts, self.payments.charges).go_on(order)
        if order.stripe_session_id is None:
            assert order.stripe_payment_intent is not None  # noqa: S101 - it has one or the other
            return (await self.payments.charges.cancel(order.stripe_payment_intent)).fact
        session = await self.payments.expire_session(order.stripe_session_id)
        if session.status == "open":
            raise Retryable("stripe_unavailable", "The page to pay at could not be closed.")
        return session

    async def _ask_to_end(self, order_id: UUID, reason: str) -> Order:
        """Since the order was looked at its money may have set out: both parts of a split payment are authorized, and
        one may be captured at this moment."""
        async with self.outbox.transaction() as tx:
            locked = await store.lock_order(tx.connection, order_id)
            assert locked is not None  # noqa: S101 - orders are never deleted
            if locked.state in (State.PROCESSING, State.PAID):
                raise _too_late(locked)
            return await self.facts.learn(tx, locked, EndAsked(reason)) if rules.may_end(locked) else locked

    async def _learn(self, order_id: UUID, fact: Fact) -> Order:
        async with self.outbox.transaction() as tx:
            locked = await store.lock_order(tx.connection, order_id)
            assert locked is not None  # noqa: S101 - orders are never deleted
            return await self.facts.learn(tx, locked, fact)


def _too_late(order: Order) -> Refused:
    return Refused(
        "order_not_cancelable", "The order is paid, or its payment is on its way.", extra={"order_status": order.state}
    )
