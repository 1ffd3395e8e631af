"""Charge a saved method again that its bank declined for now. Nobody waits for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from checkout.decide import pricing
from checkout.decide import retrying as rules
from checkout.gateway import Charges, Inventory
from checkout.handlers.advancing import Work
from checkout.handlers.charging import OWNER_SECONDS
from checkout.handlers.facts import Facts
from checkout.model.facts import Fact, GivenUp
from checkout.model.orders import Order
from checkout.store import orders as store
from payments_shared.errors import PaymentsError, Refused
from payments_shared.failpoints import failpoint
from payments_shared.lease import LEASE_SECONDS, Leases
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire, is_unavailable
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused
from payments_shared.sweeper import Round, some_at_once

AT_ONCE: Final = 4  # Stripe limits how often it may be asked, and buyers come first

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retrying:
    """A sweep. Which attempt is due stands in the order before anything is asked for, and both requests name it, so
    that they can be repeated by anybody. Between attempts the stock is not held: it is for whoever can pay."""

    outbox: Outbox
    facts: Facts
    inventory: Inventory
    charges: Charges
    leases: Leases[Work]

    async def charge_due(self) -> Round | None:
        """Sweep: make the attempts that are due; None while Stripe does not answer."""
        if self.charges.stripe.resting:
            return None
        async with acquire(self.outbox.pool) as connection:
            order_ids = await store.list_retries(connection)
        return sum(await some_at_once(self._retry, order_ids, limit=AT_ONCE), start=Round())

    async def _retry(self, order_id: UUID) -> Round:
        async with acquire(self.outbox.pool) as connection:
            if not await store.lease_order(connection, order_id, LEASE_SECONDS):
                return Round()
            order, now = await store.load_order(connection, order_id), await store.business_now(connection)
        done = Round(failed=1)
        try:
            with self.leases.held(Work(order_id)):
                await self._charge(order, now)
            done = Round()
        except PaymentsError as error:
            log.warning("order.not_retried", order_id=order_id, code=error.code)
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("order.not_retried", order_id=order_id)  # one odd order stops no other
        async with acquire(self.outbox.pool) as connection:
            await connection.execute(store.QUERIES["end_lease"], order_id)
        return done

    async def _charge(self, order: Order | None, now: datetime) -> None:
        if order is None or order.retry_at is None or order.retry_at > now or order.stripe_payment_intent is None:
            return  # somebody else did it, or its buyer canceled
        try:
            failpoint("before_retry_hold")
            await self._hold(order, now)
            failpoint("before_retry")
            attempt = await self.charges.retry(order, order.stripe_payment_intent)
        except Refused as refusal:
            await self._learn(order.id, GivenUp(refusal.code))
            return
        except StripeRefused as refusal:
            # The method is gone, or may not be used so: no later attempt will do better.
            log.warning("order.retry_refused", order_id=order.id, code=refusal.code, param=refusal.param)
            await self._learn(order.id, GivenUp("stripe_refused"))
            return
        except OutcomeUnknown as unknown:
            if unknown.stored_under_key:
                await self._use_another_key(order)
            raise
        failpoint("after_retry")
        if rules.is_fruitless(order, await self._learn(order.id, attempt.fact)):
            log.warning("order.retry_fruitless", order_id=order.id, status=attempt.status)
            await self._learn(order.id, GivenUp("not_charged"))

    async def _hold(self, order: Order, now: datetime) -> None:
        goods = list(pricing.pieces(order.lines).items())
        until = now + timedelta(seconds=OWNER_SECONDS)
        await self.inventory.hold(order.id, goods, until, attempt=order.retry_attempt)

    async def _use_another_key(self, order: Order) -> None:
        """Stripe keeps a 500 under the key. The intent is the same, so whatever came of it is found there."""
        async with acquire(self.outbox.pool) as connection:
            await connection.execute(store.QUERIES["bump_stripe_attempt"], order.id, order.stripe_attempt)

    async def _learn(self, order_id: UUID, fact: Fact) -> Order:
        async with self.outbox.transaction() as tx:
            order = await store.lock_order(tx.connection, order_id)
            assert order is not None  # noqa: S101 - orders are never deleted
            after = await self.facts.learn(tx, order, fact)
        log.info("order.retried", order_id=order_id, attempt=order.retry_attempt, state=after.state.value)
        return after
