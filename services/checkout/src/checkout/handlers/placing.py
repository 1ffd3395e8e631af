"""Place an order: price it, hold its stock, open its session at Stripe or charge a saved method. Every step can be
repeated by anybody."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import Final
from uuid import UUID

import structlog

from checkout.decide import asking, paging, pricing, saying
from checkout.decide import order as rules
from checkout.gateway import HoldUnknown, Inventory, Payments
from checkout.handlers.charging import OWNER_SECONDS, Charging
from checkout.handlers.customers import Customers
from checkout.handlers.facts import Facts
from checkout.handlers.gating import Gates
from checkout.handlers.pricing import Pricing
from checkout.model.options import PageRules
from checkout.model.orders import Answer, Order, Placement, State
from checkout.store import catalog
from checkout.store import orders as store
from payments_shared import idempotency, metrics
from payments_shared.contracts import checkout as said
from payments_shared.errors import PaymentsError, Refused, Retryable
from payments_shared.failpoints import failpoint
from payments_shared.idempotency import Claimed, Key, Replay, Resumed
from payments_shared.ids import external_id, new_id
from payments_shared.lease import LEASE_SECONDS, Leases
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire, is_unavailable, unavailable_as_retryable
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused
from payments_shared.sweeper import Round, some_at_once

RESUMED_AT_ONCE: Final = 8  # of the pool's twenty connections; buyers come first
STOPPED_SECONDS: Final = 30  # what a stop lasts at least is not known; a person may start at any moment
TIDYING_UP_SECONDS: Final = 0.5  # the caller has waited long enough for what failed

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a placement is made under. `origin` is the shop's own; paths are joined to it and nothing else."""

    origin: str
    page: PageRules


@dataclass(frozen=True, slots=True)
class Work:
    """An order that is being brought to its session, and the key of the request that does it, if one does."""

    order_id: UUID
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Placing:
    """The way of an order from a cart to an open session. `leases.run` must be running."""

    outbox: Outbox
    facts: Facts
    inventory: Inventory
    payments: Payments
    charging: Charging
    pricing: Pricing
    customers: Customers
    terms: Terms
    leases: Leases[Work]
    gates: Gates

    async def place(self, wanted: Placement, key: Key, token: str) -> Answer:
        """Place an order, or answer as before under a repeated key.

        `token` is the new order's secret; an order that is resumed keeps the token of its first request.

        Raises:
            Refused: a rule says no; nothing was charged and nothing is held.
            Retryable: something was away; the same key goes on where this request stopped.
        """
        with unavailable_as_retryable():
            if wanted.one_click is None:
                customer = await self.customers.meanwhile(wanted.customer_subject, wanted.account_email)
                wanted = replace(wanted, customer=customer)
            begun = await self._begin(wanted, key, token)
        if isinstance(begun, Answer):
            return begun

        async def answer_of(order: Order) -> Answer:
            if order.saved_method is not None:
                return await self.charging.answer(order, token)
            return Answer(201, json.dumps(rendered(order, token)).encode())

        return await self.complete(begun, key, answer_of)

    async def complete(self, order_id: UUID, key: Key, answer_of: Callable[[Order], Awaitable[Answer]]) -> Answer:
        """Bring an order that was begun under `key` to its page, or charge it, and keep the answer.

        Raises:
            Refused, Retryable: as `place`.
        """
        try:
            with self.leases.held(Work(order_id, key)):
                answer = await answer_of(await self.advance(order_id))
        except Refused as refusal:
            # What was said no to is answered again to a repeat: only a new key may try anew.
            await self._finish(key, kept_refusal(refusal))
            raise
        except Retryable as failure:
            if failure.code != "database_unavailable":  # whose leases end by themselves
                async with _tidying_up():
                    await self._release(key, order_id)
            raise
        failpoint("before_answer_kept")
        await self._finish(key, answer)
        failpoint("after_answer_kept")
        return answer

    async def _finish(self, key: Key, answer: Answer) -> None:
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                await idempotency.finish(connection, key, status=answer.status, body=answer.body)

    async def _release(self, key: Key, order_id: UUID) -> None:
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection, connection.transaction():
                await connection.execute(store.QUERIES["end_lease"], order_id)
                await idempotency.release(connection, key)

    async def _begin(self, wanted: Placement, key: Key, token: str) -> UUID | Answer:
        async with self.outbox.transaction() as tx:
            if (earlier := await self.claim(tx, key)) is not None:
                return earlier
            order_id = new_id()
            await self.insert(tx, order_id, wanted, token)
            await idempotency.attach(tx.connection, key, order_id)
        metrics.ORDERS.labels("placed").inc()
        return order_id

    async def claim(self, tx: Transaction, key: Key) -> UUID | Answer | None:
        """Take `key`: the answer that is kept under it, the order that an earlier request began and did not finish, or
        None, when there is neither."""
        claim = await idempotency.claim(tx.connection, key, lease_seconds=LEASE_SECONDS)
        match claim:
            case Replay(status=status, body=body):
                return Answer(status, body, replayed=True)
            case Resumed(resource_id=UUID() as order_id):
                order = await store.load_order(tx.connection, order_id)
                if order is not None and order.state is not State.CANCELED:
                    await take_over(tx, order)
                    return order_id
            case Resumed() | Claimed():
                pass
        return None

    async def insert(self, tx: Transaction, order_id: UUID, wanted: Placement, token: str) -> None:
        """Save a new order, leased to us, and say that it was placed.

        Raises:
            Refused: as `decide.pricing` says.
            Retryable: `checkouts_stopped`.
        """
        moment = await store.load_moment(tx.connection)
        if moment.stopped:
            # Nothing is kept of the request: the same key places the order once checkouts are taken again.
            raise checkouts_stopped()
        await self.gates.admit(tx.connection, wanted)
        quote = await self.pricing.quote(tx.connection, wanted, moment.now)
        risk = None
        if wanted.one_click is None:
            expires_at, saved_method = paging.end_of(wanted.page, self.terms.page, moment.now), None
            request = asking.session_of(order_id, quote, wanted, self.terms.origin, expires_at, rules=self.terms.page)
            request, risk = await self.gates.secured(tx.connection, wanted, quote, request)
        else:
            expires_at = (moment.now + timedelta(seconds=OWNER_SECONDS)).replace(microsecond=0)
            saved = await self.charging.method_for(tx.connection, wanted, quote, moment.now)
            request = asking.charge_of(order_id, quote, saved.method, wanted, self.terms.origin)
            saved_method = saved.method.id
        await store.insert_order(
            tx.connection,
            order_id,
            quote,
            email=wanted.email,
            customer_subject=wanted.customer_subject,
            locale=wanted.locale,
            token_hash=hash_token(token),
            stripe_request=request,
            expires_at=expires_at,
            lease_seconds=LEASE_SECONDS,
            recovered_from=wanted.recovered_from,
            saved_method=saved_method,
        )
        await self.gates.remember(tx.connection, order_id, wanted, risk)
        if quote.coupon is not None:
            await catalog.hold_coupon(
                tx.connection,
                quote.coupon,
                order_id,
                wanted.email,
                wanted.customer_subject,
                promotion=quote.promotion,
            )
        tx.announce(saying.placed(order_id, quote, wanted, expires_at))

    async def advance(self, order_id: UUID) -> Order:
        """Bring a pending order to an open session, or charge it; whoever holds its lease calls this, as often as need
        be.

        Until a session was asked for, whatever goes wrong with the hold ends the order. From then on a session may
        exist that a buyer can pay: the order ends only after it was looked for, and the one found is closed. The same
        holds for the intent of an order that is paid with a saved method.

        Raises:
            Refused: the order is canceled: no stock, or Stripe refused its parameters.
            Retryable: the outcome is unknown; the order stays pending and is taken up again.
        """
        order = await self._load(order_id)
        if order.state is State.PENDING and order.stripe_session_id is None and order.stripe_payment_intent is None:
            await self._hold(order)
            order = await self._ask_stripe(order)
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
                async with _tidying_up():
                    await self._end(order, "hold_failed")
            raise
        failpoint("after_hold")

    async def _end(self, order: Order, reason: str) -> None:
        """Cancel the order, unless its session or intent became known meanwhile."""
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

    async def _ask_stripe(self, order: Order) -> Order:
        try:
            if order.saved_method is not None:
                order = await self._remember_asking(order)
                failpoint("before_stripe_call")
                return await self.charging.charge(order)
            if order.discount_minor:
                await self.payments.create_discount(order)
            order = await self._remember_asking(order)
            failpoint("before_stripe_call")
            session_id, url = await self.payments.create_session(order)
            failpoint("after_stripe_call")
        except StripeRefused as refusal:
            log.error("order.stripe_refused", order_id=str(order.id), code=refusal.code, param=refusal.param)
            if refusal.says_missing("customer"):
                await self.customers.forget(asking.customer_in(order.stripe_request))
            await self._end(order, "stripe_refused")
            raise Refused("stripe_refused", "The payment provider refused the order.", status=502) from refusal
        except OutcomeUnknown as unknown:
            if unknown.stored_under_key:
                return await self._after_stored_failure(order, unknown)
            raise
        return await self._keep_session(order.id, session_id, url)

    async def _remember_asking(self, order: Order) -> Order:
        if order.session_asked_at is not None:
            return order
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                return replace(order, session_asked_at=await store.mark_session_asked(connection, order.id))

    async def _after_stored_failure(self, order: Order, unknown: OutcomeUnknown) -> Order:
        """Stripe keeps a 500 under the key: look whether the session or intent was made, and only then use another
        key."""
        if order.saved_method is not None:
            if (found_order := await self.charging.found(order)) is not None:
                return found_order
        elif (found := await self.payments.find_session(order)) is not None:
            return await self._keep_session(order.id, *found)
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                await connection.execute(store.QUERIES["bump_stripe_attempt"], order.id, order.stripe_attempt)
        raise unknown

    async def _keep_session(self, order_id: UUID, session_id: str, url: str | None) -> Order:
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                order = await store.lock_order(tx.connection, order_id)
                assert order is not None  # noqa: S101 - orders are never deleted
                stored = await store.store_session(tx.connection, order_id, session_id, url)
                if order.state is State.CANCELED or not stored:
                    tx.announce(said.ExpireSession(order_id=order_id, session_id=session_id))
            return await self._load(order_id)

    # -- commands and sweeps -----------------------------------------------------------------------------------------

    async def resume(self, call: Call, message: said.ResumeOrder) -> None:
        """Command: go on with an order whose lease ran out."""
        try:
            await self.advance(message.order_id)
        except Refused as refusal:
            log.info("order.not_resumed", order_id=str(message.order_id), code=refusal.code)
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
                await self.advance(order_id)
            metrics.SWEEPER_HEALED.labels("session").inc()
            done = Round()
        except Refused as refusal:
            log.info("order.not_resumed", order_id=str(order_id), code=refusal.code)
            done = Round()  # the order has ended
        except PaymentsError as error:
            log.warning("order.not_resumed", order_id=str(order_id), code=error.code)
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("order.not_resumed", order_id=str(order_id))  # one odd order stops no other
        async with acquire(self.outbox.pool) as connection:  # whoever repeats the request goes on at once
            await connection.execute(store.QUERIES["end_lease"], order_id)
        return done


@contextlib.asynccontextmanager
async def _tidying_up() -> AsyncIterator[None]:
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


async def take_over(tx: Transaction, order: Order) -> None:
    """Take the work on an order whose session is not known; only one at a time holds its stock and asks Stripe.

    Raises:
        Retryable: somebody is at work on it.
    """
    unfinished = order.state is State.PENDING and order.stripe_session_id is None
    if unfinished and not await store.lease_order(tx.connection, order.id, LEASE_SECONDS):
        raise Retryable("order_in_progress", "The order is being placed; ask again for the answer.")


def checkouts_stopped() -> Retryable:
    """503: administrators take no orders."""
    return Retryable("checkouts_stopped", "No orders are taken at the moment.", retry_after_seconds=STOPPED_SECONDS)


def hash_token(token: str) -> bytes:
    """How an order's token is kept."""
    return hashlib.sha256(token.encode()).digest()


def rendered(order: Order, token: str) -> Mapping[str, object]:
    """The answer to a placement."""
    return {
        "order_id": external_id("ord", order.id),
        "order_token": token,
        "status": "pending",
        "currency": order.currency,
        "subtotal_minor": order.subtotal_minor,
        "discount_minor": order.discount_minor,
        "shipping_minor": order.shipping_minor,
        "tax_minor": order.tax_minor,
        "total_minor": order.total_minor,
        "checkout_url": order.stripe_session_url,
        "expires_at": order.expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def kept_refusal(refusal: Refused) -> Answer:
    """A refusal as it is kept under an idempotency key."""
    body: dict[str, object] = {"code": refusal.code, "detail": refusal.detail, "extra": refusal.extra}
    body["errors"] = [[e.pointer, e.detail, e.code] for e in refusal.errors]
    return Answer(refusal.status, json.dumps(body).encode())
