"""Pay an order with two saved methods: authorize both, capture one after the other, or release what was authorized."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from checkout.decide import splitting as rules
from checkout.decide.splitting import Step
from checkout.gateway import Charges
from checkout.handlers.facts import Facts
from checkout.model.charges import Attempt
from checkout.model.facts import Fact, GivenUp
from checkout.model.orders import Order
from checkout.store import orders as store
from payments_shared.errors import Retryable
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire, unavailable_as_retryable
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused, only_asked, refused_as_unknown

STEPS_MAX: Final = 8  # twice as many as there are to two parts; what then is left is for the sweep

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Splitting:
    """Which step is next follows from what is known, so whoever goes on does the same; each request was stored with the
    order and has a key of its own."""

    outbox: Outbox
    facts: Facts
    charges: Charges

    async def go_on(self, order: Order) -> Order:
        """Do all that is left to do at Stripe, and return the order as it is then.

        Raises:
            StripeRefused: our parameters were wrong, and nothing was authorized.
            Retryable: Stripe did not answer; the same is done again later.
        """
        for _ in range(STEPS_MAX):
            step = rules.next_step(order.split) if order.split is not None else None
            if step is None:
                break
            order = await self._do(order, step)
        return order

    async def give_up(self, order: Order, reason: str) -> Order:
        """Release what is authorized, unless both parts are meanwhile: then the money is on its way, and is taken."""
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                current = await store.lock_order(tx.connection, order.id)
                assert current is not None  # noqa: S101 - orders are never deleted
                if rules.may_be_given_up(current):
                    current = await self.facts.learn(tx, current, GivenUp(reason))
        return await self.go_on(current)

    async def _do(self, order: Order, step: Step) -> Order:
        assert order.split is not None  # noqa: S101 - the step is one of it
        intent = order.split.legs[step.leg].payment_intent
        failpoint(f"before_{step.act}_{step.leg}")
        if step.act == "authorize":
            marked = await self._mark(order, step.leg, asked=True)
            if marked.split is None or rules.next_step(marked.split) != step:
                return marked  # its buyer wants it no more, or what became of it is known already
        try:
            attempt = await self._ask(order, step, intent)
        except StripeRefused as refusal:
            if all(leg.payment_intent is None for leg in order.split.legs):
                raise
            log.error("order.split_refused", order_id=order.id, code=refusal.code, param=refusal.param)
            return await self._learn(order.id, GivenUp("stripe_refused"))
        except OutcomeUnknown as unknown:
            if not unknown.stored_under_key:
                raise
            attempt = await self._after_stored_failure(order, step, intent)
        failpoint(f"after_{step.act}_{step.leg}")
        if attempt is None:
            return await self._mark(order, step.leg, asked=False)
        return await self._learn(order.id, attempt.fact)

    async def _ask(self, order: Order, step: Step, intent: str | None) -> Attempt | None:
        if step.act == "authorize":
            with only_asked():  # what a 500 of Stripe's left behind may show only now
                known = await self.charges.find(order, step.leg) if order.stripe_attempt else None
            return known or await self.charges.authorize(order, step.leg)
        if step.act == "capture" and intent is not None:
            return await self.charges.capture(order, step.leg, intent)
        with refused_as_unknown():
            return await (self.charges.cancel(intent) if intent else self.charges.find(order, step.leg))

    async def _after_stored_failure(self, order: Order, step: Step, intent: str | None) -> Attempt:
        """Stripe keeps a 500 under the key: look what came of it, and only then use another key."""
        with refused_as_unknown():
            found = await (self.charges.retrieve(intent) if intent else self.charges.find(order, step.leg))
        if found is not None and (intent is None or found.status != "requires_capture"):
            return found
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                await connection.execute(store.QUERIES["bump_stripe_attempt"], order.id, order.stripe_attempt)
        raise Retryable("stripe_unavailable", "The payment provider did not answer.")

    async def _mark(self, order: Order, leg: int, *, asked: bool) -> Order:
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                await store.mark_leg(connection, order.id, leg, asked=asked)
                after = await store.load_order(connection, order.id)
        assert after is not None  # noqa: S101 - orders are never deleted
        return after

    async def _learn(self, order_id: UUID, fact: Fact) -> Order:
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                order = await store.lock_order(tx.connection, order_id)
                assert order is not None  # noqa: S101 - orders are never deleted
                return await self.facts.learn(tx, order, fact)
