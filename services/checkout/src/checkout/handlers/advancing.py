"""Bring an order that was placed to its session at Stripe, or charge it. Every step can be repeated by anybody."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog

from checkout.decide import asking, crediting, pricing
from checkout.decide import order as rules
from checkout.gateway import HoldUnknown, Inventory, Payments
from checkout.handlers.charging import Charging
from checkout.handlers.covering import Covering
from checkout.handlers.customers import Customers
from checkout.handlers.facts import Facts
from checkout.model.orders import Order, State
from checkout.store import orders as store
from payments_shared import idempotency, metrics
from payments_shared.contracts import checkout as said
from payments_shared.errors import PaymentsError, Refused, Retryable
from payments_shared.failpoints import failpoint
from payments_shared.idempotency import Key
from payments_shared.lease import LEASE_SECONDS, Leases
from payments_shared.messaging import Call, Outbox
from payments_shared.postgres import Connection, acquire, is_unavailable, unavailable_as_retryable
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused, only_asked, refused_as_unknown
from payments_shared.sweeper import Round, some_at_once

RESUMED_AT_ONCE: Final = 8  # of the pool's twenty connections; buyers come first
TIDYING_UP_SECONDS: Final = 0.5  # the caller has waited long enough for what failed

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """An order that is being brought to its session, and the key of the request that does it, if one does."""

    order_id: UUID
    key: Key | None = None


Keep = Callable[[Connection, Order], Awaitable[None]]
"""What a request wants done in the transaction that brings its order to its page: its answer kept."""


@dataclass(frozen=True, slots=True)
class Advancing:
    """The way of an order from its placement to an open session or a charge. `leases.run` must be running."""

    outbox: Outbox
    facts: Facts
    inventory: Inventory
    payments: Payments
    charging: Charging
    covering: Covering
    customers: Customers
    leases: Leases[Work]

    async def advance(self, order: Order, keep: Keep | None = None) -> Order:
        """Bring a pending order to an open session, charge it, or have store credit pay it; whoever holds its lease
        calls this with the order as it is under that, as often as need be.

        Until a session was asked for, whatever goes wrong with the hold ends the order. From then on a session may
        exist that a buyer can pay: the order ends only after it was looked for, and the one found is closed. The same
        holds for the intent of an order that is paid with a saved method. `keep` is done with the order in the
        transaction that stores its session.

        Raises:
            Refused: the order is canceled: no stock, or Stripe refused its parameters.
            Retryable: the outcome is unknown; the order stays pending and is taken up again.
        """
        if order.state is State.PENDING and order.stripe_session_id is None and order.stripe_payment_intent is None:
            await self._hold(order)
            order = await (self.covering.pay(order) if order.covered else self._ask_stripe(order, keep))
        elif order.split_open:
            order = await self.charging.go_on(order)
        if order.state is State.CANCELED:
            raise Refused("order_canceled", "The order was canceled before it could be paid.")
        return order

    async def _load(self, order_id: UUID) -> Order:
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                order = await store.load_order(connection, order_id)
        if order is None:
            raise Refused("order_unknown", "There is no such order.", status=404)
        return order

    async def _hold(self, order: Order) -> None:
        failpoint("before_hold")
        try:
            await self.inventory.hold(order.id, list(pricing.pieces(order.lines).items()), order.expires_at)
        except Refused as refusal:
            await self._end(order, "out_of_stock" if refusal.code == "out_of_stock" else "hold_failed")
            raise
        except HoldUnknown:
            # The hold may exist: the cancellation leaves a tombstone at inventory, which undoes or refuses it.
            if order.session_asked_at is None:
                async with tidying_up():
                    await self._end(order, "hold_failed")
            raise
        failpoint("after_hold")

    async def _end(self, order: Order, reason: str) -> None:
        """Cancel the order, unless its session or intent became known meanwhile."""
        with refused_as_unknown():
            if order.saved_method is not None and order.session_asked_at is not None:
                await self.charging.end(order, reason)
                return
            found = await self.payments.find_session(order) if order.session_asked_at is not None else None
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                current = await store.lock_order(tx.connection, order.id)
                if current is None or rules.moved_on(order, current):
                    raise Retryable("order_moved_on", "Somebody else is bringing the order to its payment page.")
                await self.facts.cancel(tx, order.id, reason)
                if found is not None:
                    tx.announce(said.ExpireSession(order_id=order.id, session_id=found[0]))

    async def _ask_stripe(self, order: Order, keep: Keep | None) -> Order:
        try:
            if order.saved_method is not None:
                order = await self._remember_asking(order)
                failpoint("before_stripe_call")
                return await self.charging.charge(order)
            if crediting.discount_at_stripe(order)[0]:
                await self.payments.create_discount(order)
            order = await self._remember_asking(order)
            failpoint("before_stripe_call")
            session_id, url = await self._made_before(order) or await self.payments.create_session(order)
            failpoint("after_stripe_call")
        except StripeRefused as refusal:
            log.error("order.stripe_refused", order_id=order.id, code=refusal.code, param=refusal.param)
            if refusal.says_missing("customer"):
                await self.customers.forget(asking.customer_in(order.stripe_request))
            await self._end(order, "stripe_refused")
            raise Refused("stripe_refused", "The payment provider refused the order.", status=502) from refusal
        except OutcomeUnknown as unknown:
            if unknown.stored_under_key:
                return await self._after_stored_failure(order, unknown, keep)
            raise
        return await self._keep_session(order.id, session_id, url, keep)

    async def _made_before(self, order: Order) -> tuple[str, str | None] | None:
        """The session that a 500 of Stripe's left behind: it may show only now that another key is to be used."""
        if not order.stripe_attempt:
            return None
        with only_asked():
            return await self.payments.find_session(order)

    async def _remember_asking(self, order: Order) -> Order:
        if order.session_asked_at is not None:
            return order
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                return replace(order, session_asked_at=await store.mark_session_asked(connection, order.id))

    async def _after_stored_failure(self, order: Order, unknown: OutcomeUnknown, keep: Keep | None) -> Order:
        """Stripe keeps a 500 under the key: look whether the session or intent was made, and only then use another
        key."""
        found = None
        with refused_as_unknown():
            if order.saved_method is None:
                found = await self.payments.find_session(order)
            elif (charged := await self.charging.found(order)) is not None:
                return charged
        if found is not None:
            return await self._keep_session(order.id, *found, keep)
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                await connection.execute(store.QUERIES["bump_stripe_attempt"], order.id, order.stripe_attempt)
        raise unknown

    async def _keep_session(self, order_id: UUID, session_id: str, url: str | None, keep: Keep | None) -> Order:
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                order = await store.store_session(tx.connection, order_id, session_id, url)
                if order is None or order.state is State.CANCELED:
                    tx.announce(said.ExpireSession(order_id=order_id, session_id=session_id))
                elif keep is not None:
                    await keep(tx.connection, order)
        return order or await self._load(order_id)

    # -- commands and sweeps -----------------------------------------------------------------------------------------

    async def _go_on(self, order_id: UUID) -> None:
        """Go on with an order for which nobody waits. Its buyer may have bought elsewhere meanwhile: a charge of a
        saved method is looked for and never made, and without one the order ends once his repeat is overdue."""
        order = await self._load(order_id)
        unasked = order.state is State.PENDING and order.stripe_payment_intent is None
        if order.saved_method is None or not unasked:
            await self.advance(order)
        elif not await self.charging.is_known(order) and await self.charging.is_overdue(order):
            await self._end(order, "hold_failed")

    async def resume(self, call: Call, message: said.ResumeOrder) -> None:
        """Command: go on with an order whose lease ran out."""
        try:
            await self._go_on(message.order_id)
        except Refused as refusal:
            log.info("order.not_resumed", order_id=message.order_id, code=refusal.code)
        async with call.conclude():
            pass

    async def resume_unfinished(self) -> Round:
        """Sweep: take over what a crash or a lost answer left behind, and go on with it."""
        async with acquire(self.outbox.pool) as connection:
            order_ids = await store.list_unfinished(connection)
        return sum(await some_at_once(self._resume, order_ids, limit=RESUMED_AT_ONCE), start=Round())

    async def _resume(self, order_id: UUID) -> Round:
        async with acquire(self.outbox.pool) as connection:
            if not await store.lease_order(connection, order_id, LEASE_SECONDS):
                return Round()
        done = Round(failed=1)
        try:
            with self.leases.held(Work(order_id)):
                await self._go_on(order_id)
            metrics.SWEEPER_HEALED.labels("session").inc()
            done = Round()
        except Refused as refusal:
            log.info("order.not_resumed", order_id=order_id, code=refusal.code)
            done = Round()  # the order has ended
        except PaymentsError as error:
            log.warning("order.not_resumed", order_id=order_id, code=error.code)
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("order.not_resumed", order_id=order_id)  # one odd order stops no other
        async with acquire(self.outbox.pool) as connection:  # whoever repeats the request goes on at once
            await connection.execute(store.QUERIES["end_lease"], order_id)
        return done


@contextlib.asynccontextmanager
async def tidying_up() -> AsyncIterator[None]:
    """What only spares others some time may cost the caller little; otherwise leases and sweeps do it.

    Raises:
        Retryable: the database did not do it at once.
    """
    try:
        async with asyncio.timeout(TIDYING_UP_SECONDS):
            yield
    except TimeoutError as error:
        raise Retryable("database_unavailable", "The database did not answer in time.") from error


def leases_over(outbox: Outbox) -> Leases[Work]:
    """The leases of all placements in this process."""

    async def renew(works: Sequence[Work]) -> None:
        keys = [work.key for work in works if work.key is not None]
        async with acquire(outbox.pool) as connection:
            await store.renew_leases(connection, [work.order_id for work in works], LEASE_SECONDS)
            if keys:
                await idempotency.renew(connection, keys, lease_seconds=LEASE_SECONDS)

    return Leases(renew)
