"""Payments with two methods that nobody finished: they are made, or what was authorized is released."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from checkout.handlers.advancing import Work
from checkout.handlers.charging import Charging
from checkout.handlers.splitting import Splitting
from checkout.model.orders import Order, State
from checkout.store import orders as store
from payments_shared import metrics
from payments_shared.errors import PaymentsError
from payments_shared.lease import LEASE_SECONDS, Leases
from payments_shared.postgres import acquire, is_unavailable
from payments_shared.stripe_client import StripeRefused
from payments_shared.sweeper import Round, some_at_once

AT_ONCE: Final = 4  # Stripe limits how often it may be asked, and buyers come first

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Finishing:
    """A sweep. Nothing that is authorized stays so. Once both parts are, the money is on its way, and it is captured;
    before that nothing more is authorized for whoever does not wait for it any more, and what is is released."""

    charging: Charging
    leases: Leases[Work]

    @property
    def splitting(self) -> Splitting:
        """The steps at Stripe."""
        return self.charging.splitting

    async def finish(self) -> Round | None:
        """Sweep: go on with payments that were interrupted; None while Stripe does not answer."""
        if self.splitting.charges.stripe.resting:
            return None
        async with acquire(self.splitting.outbox.pool) as connection:
            order_ids = await store.list_open_splits(connection)
        return sum(await some_at_once(self._finish, order_ids, limit=AT_ONCE), start=Round())

    async def _finish(self, order_id: UUID) -> Round:
        async with acquire(self.splitting.outbox.pool) as connection:
            if not await store.lease_order(connection, order_id, LEASE_SECONDS):
                return Round()
            order = await store.load_order(connection, order_id)
        assert order is not None  # noqa: S101 - orders are never deleted
        done = Round(failed=1)
        try:
            with self.leases.held(Work(order_id)):
                finished = await self._go_on(order)
            if finished:
                metrics.SWEEPER_HEALED.labels("split").inc()
            done = Round(healed=int(finished))
        except (PaymentsError, StripeRefused) as error:
            log.warning("order.split_not_finished", order_id=order_id, error=str(error))
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("order.split_not_finished", order_id=order_id)  # one odd order stops no other
        async with acquire(self.splitting.outbox.pool) as connection:
            await connection.execute(store.QUERIES["end_lease"], order_id)
        return done

    async def _go_on(self, order: Order) -> bool:
        releasing = order.split is not None and order.split.releasing
        if order.state is State.PROCESSING or releasing:
            await self.splitting.go_on(order)
            return True
        if await self.charging.is_overdue(order):
            await self.splitting.give_up(order, "interrupted")
            return True
        return False  # its buyer may repeat the request
