"""Ask Stripe what became of something, and fold the answer as a fact like any other."""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from checkout.gateway import Payments
from checkout.handlers.facts import Facts
from checkout.model.facts import Fact, IntentFetched, SessionSeen
from checkout.model.orders import Patience, Waiting
from checkout.store import orders as store
from payments_shared import metrics
from payments_shared.clock import monotonic_seconds
from payments_shared.contracts import checkout as said
from payments_shared.errors import Poison, Retryable
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire, is_unavailable
from payments_shared.stripe_client import StripeRefused
from payments_shared.sweeper import Round, some_at_once

ASKED_AT_ONCE: Final = 4  # Stripe limits how often it may be asked, and buyers come first
PAGE: Final = 40  # so few that a page ends soon when the process is to stop
UNPAID: Final = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
ROUND_SECONDS: Final = 45.0  # with the page that is under way, about as long as the pause between two rounds

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """Commands to ourselves that call outward; each answer goes through `Facts.learn`. `patience` is how long an event
    may take before its order is asked after."""

    outbox: Outbox
    facts: Facts
    payments: Payments
    patience: Patience

    async def fetch_session(self, call: Call, message: said.FetchSession) -> None:
        """Command: the session of a lone capture, or the order's own.

        Raises:
            Poison: Stripe knows no session of ours behind the capture. Somebody took money in an order's name by other
                means, and a person must say what for.
        """
        if message.payment_intent is not None:
            answer = await self.payments.session_of_intent(message.payment_intent)
            if answer is None:
                raise Poison("capture_unexplained", f"No session explains {message.payment_intent}.")
        else:
            session_id = message.session_id or await self._session_id(message.order_id)
            answer = await self.payments.retrieve_session(session_id) if session_id else None
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            if answer is not None and _says_something(answer):
                await self._learn(tx, message.order_id, answer)

    async def fetch_intent(self, call: Call, message: said.FetchPaymentIntent) -> None:
        """Command: an intent whose failure is ambiguous."""
        answer = await self.payments.retrieve_intent(message.payment_intent)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            if _is_decided(answer):
                await self._learn(tx, message.order_id, answer)

    async def expire_session(self, call: Call, message: said.ExpireSession) -> None:
        """Command: close a session whose order has ended, or shall. What became of it is a fact: perhaps it was paid a
        moment before."""
        try:
            answer = await self.payments.expire_session(message.session_id)
        except StripeRefused as refusal:
            log.warning("session.not_expired", session_id=message.session_id, code=refusal.code)
            return
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            if _says_something(answer):
                await self._learn(tx, message.order_id, answer)

    async def abandon(self, call: Call, message: said.AbandonOrder) -> None:
        """Command, delayed: look whether the decline is still the last word."""
        async with call.conclude() as tx:
            await self.facts.abandon(tx, message.order_id, message.decline)

    async def _session_id(self, order_id: UUID) -> str | None:
        async with acquire(self.outbox.pool) as connection:
            order = await store.load_order(connection, order_id)
        return order.stripe_session_id if order else None

    async def _learn(self, tx: Transaction, order_id: UUID, fact: Fact) -> bool:
        order = await store.lock_order(tx.connection, order_id)
        if order is None:
            return False
        before = order.state
        return (await self.facts.learn(tx, order, fact)).state is not before

    # -- sweeps ------------------------------------------------------------------------------------------------------

    async def ask_after_waiting(self, stopping: asyncio.Event) -> Round | None:
        """Sweep: orders with a session of which nothing was heard; a webhook may have been lost.

        Each waiting order is asked after once, as long as the round's time lasts and Stripe answers; None when it does
        not at the beginning.
        """
        if self.payments.stripe.resting:
            return None
        ends_at, done, after = monotonic_seconds() + ROUND_SECONDS, Round(), None
        while True:
            async with acquire(self.outbox.pool) as connection:
                page = await store.list_waiting(connection, self.patience, after, PAGE)
            done = sum(await some_at_once(self._heal, page, limit=ASKED_AT_ONCE), start=done)
            if len(page) < PAGE or self.payments.stripe.resting:
                return done
            if stopping.is_set() or monotonic_seconds() > ends_at:
                return done
            after = page[-1]

    async def _heal(self, order: Waiting) -> Round:
        try:
            return Round(healed=int(await self._ask_after(order)))
        except Exception as error:
            if is_unavailable(error):
                raise
            if isinstance(error, Retryable):
                log.warning("order.not_asked_after", order_id=order.id, code=error.code)
                return Round(failed=1)
            # An answer that nobody expected keeps nobody else waiting: this order's turn comes again.
            log.exception("order.not_asked_after", order_id=order.id)
            async with acquire(self.outbox.pool) as connection:
                await connection.execute(store.QUERIES["touch_order"], order.id)
            return Round(failed=1)

    async def _ask_after(self, order: Waiting) -> bool:
        answers = await (
            self._ask_after_intent(order)
            if order.stripe_session_id is None
            else self._ask_after_session(order.stripe_session_id, lapsed=order.lapsed)
        )
        async with self.outbox.transaction() as tx:
            await tx.connection.execute(store.QUERIES["touch_order"], order.id)
            moved = [await self._learn(tx, order.id, answer) for answer in answers]
        if any(moved):
            metrics.SWEEPER_HEALED.labels("order").inc()
        return any(moved)

    async def _ask_after_session(self, session_id: str, *, lapsed: bool) -> list[Fact]:
        answers: list[Fact] = []
        session = await self.payments.retrieve_session(session_id)
        if session.status == "open" and lapsed:
            session = await self.payments.expire_session(session_id)
        if _says_something(session):
            answers.append(session)
        if session.status == "complete" and not session.paid and session.payment_intent is not None:
            # The session looks the same whether its money is on its way or will never come; the intent knows.
            intent = await self.payments.retrieve_intent(session.payment_intent)
            if _is_decided(intent):
                answers.append(intent)
        return answers

    async def _ask_after_intent(self, order: Waiting) -> list[Fact]:
        assert order.stripe_payment_intent is not None  # noqa: S101 - an order waits with one or the other
        attempt = await self.payments.charges.retrieve(order.stripe_payment_intent)
        if order.lapsed and attempt.status in UNPAID:
            # Canceled at Stripe before the order ends here: nobody can pay for what is given back.
            attempt = await self.payments.charges.cancel(order.stripe_payment_intent)
        return [attempt.fact]

    async def end_lapsed_holds(self) -> Round:
        """Sweep: quarantined orders that nobody released in time go back to the buyer."""
        async with acquire(self.outbox.pool) as connection:
            lapsed = await connection.fetch(store.QUERIES["list_lapsed_holds"])
        return sum([await self._end_hold(row["id"]) for row in lapsed], start=Round())

    async def _end_hold(self, order_id: UUID) -> Round:
        try:
            async with self.outbox.transaction() as tx:
                await self.facts.end_lapsed_hold(tx, order_id)
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("order.hold_not_ended", order_id=order_id)  # one odd order holds up no other
            return Round(failed=1)
        return Round()


def _says_something(session: SessionSeen) -> bool:
    return session.status != "open"


def _is_decided(intent: Fact) -> bool:
    return not (isinstance(intent, IntentFetched) and intent.status == "processing")
