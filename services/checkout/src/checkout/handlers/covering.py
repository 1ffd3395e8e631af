"""Orders of which nothing is left to pay: no page, no charge, and no word to Stripe."""

from dataclasses import dataclass

from checkout.handlers.facts import Facts
from checkout.model.facts import CoveredByCredit, NothingDue
from checkout.model.orders import Order, State
from checkout.store import orders as store
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Outbox
from payments_shared.postgres import unavailable_as_retryable


@dataclass(frozen=True, slots=True)
class Covering:
    """The way to pay of orders that are covered, by store credit or by a coupon that takes all of it off. The credit
    was reserved, and the use of the coupon held, with them; once their stock is held these are spent, and they are
    paid, in one transaction that anybody may repeat."""

    outbox: Outbox
    facts: Facts

    async def pay(self, order: Order) -> Order:
        """Pay the order, and return it as it is then. Once its time has passed it ends instead: its buyer has long
        gone, and what was interrupted for so long sells him nothing behind his back."""
        failpoint("before_credit_spent")
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                current = await store.lock_order(tx.connection, order.id)
                assert current is not None  # noqa: S101 - orders are never deleted
                if current.state is not State.PENDING:
                    return current
                if current.expires_at <= await store.business_now(tx.connection):
                    return await self.facts.cancel(tx, order.id, "hold_failed")
                settles = CoveredByCredit() if current.store_credit_minor else NothingDue()
                paid = await self.facts.learn(tx, current, settles)
        failpoint("after_credit_spent")
        return paid
