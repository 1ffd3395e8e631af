"""Place an order: price it, save it under the key of its request, and answer once it was brought to its payment."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from checkout.decide import asking, charging, paging, retrying, saying
from checkout.decide.pricing import check_address
from checkout.handlers import crediting
from checkout.handlers.advancing import Advancing, Work, tidying_up
from checkout.handlers.charging import OWNER_SECONDS, Charging
from checkout.handlers.customers import Customers
from checkout.handlers.gating import Gates
from checkout.handlers.pricing import Pricing
from checkout.model.carts import Quote
from checkout.model.options import PageRules
from checkout.model.orders import Answer, Order, Placement, State
from checkout.model.risks import Risk
from checkout.model.splits import Leg, Split
from checkout.store import catalog
from checkout.store import orders as store
from payments_shared import idempotency, metrics
from payments_shared.errors import Refused, Retryable
from payments_shared.failpoints import failpoint
from payments_shared.idempotency import Claimed, Key, Replay, Resumed
from payments_shared.ids import external_id, new_id
from payments_shared.lease import LEASE_SECONDS
from payments_shared.logs import about_order
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import Connection, acquire, unavailable_as_retryable
from payments_shared.switches import Switch, stopped


@dataclass(frozen=True, slots=True)
class Terms:
    """What a placement is made under. `origin` is the shop's own; paths are joined to it and nothing else. A saved
    method is charged again `retry_seconds` after each decline, in turn, where its owner wants that."""

    origin: str
    page: PageRules
    retry_seconds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """How a new order is paid: the exact request for Stripe, until when, and with which saved method, if with one, and
    how long after each decline that is charged again; or in which parts."""

    request: Mapping[str, Any]  # Any: Stripe's parameters, nested
    expires_at: datetime
    saved_method: str | None = None
    retry_seconds: tuple[int, ...] = ()
    risk: Risk | None = None
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Placing:
    """The way of an order from a cart to its buyer's answer."""

    outbox: Outbox
    charging: Charging
    advancing: Advancing
    pricing: Pricing
    customers: Customers
    terms: Terms
    gates: Gates

    async def place(self, wanted: Placement, key: Key, token: str) -> Answer:
        """Place an order, or answer as before under a repeated key.

        `token` is the new order's secret; an order that is resumed keeps the token of its first request.

        Raises:
            Refused: a rule says no; nothing was charged and nothing is held.
            Retryable: something was away; the same key goes on where this request stopped.
        """
        with unavailable_as_retryable():
            if wanted.one_click is None and not await self._seems_covered(wanted):
                customer = await self.customers.meanwhile(wanted.customer_subject, wanted.account_email)
                wanted = replace(wanted, customer=customer)
            begun = await self._begin(wanted, key, token)
        if isinstance(begun, Answer):
            return begun

        about_order(begun.id)
        if wanted.one_click is not None:
            return await self._charged(begun, key, token)
        return await self.complete(begun, key, lambda order: Answer(201, json.dumps(rendered(order, token)).encode()))

    async def _seems_covered(self, wanted: Placement) -> bool:
        """Whether Stripe need not be asked for anything, as things stand. What becomes of the order is decided when it
        is saved; without a customer its page is a guest's."""
        if wanted.customer_subject is None or not (wanted.use_store_credit or wanted.coupon):
            return False
        async with acquire(self.outbox.pool) as connection:
            now = await store.business_now(connection)
            try:
                quote = await self.pricing.estimate(connection, wanted, now)
                return crediting.paid_with(
                    quote, wanted, await crediting.seen_purse_of(connection, wanted), now
                ).covered
            except Refused:
                return False

    async def complete(self, begun: Order, key: Key, answer_of: Callable[[Order], Answer]) -> Answer:
        """Bring an order that was begun under `key` to its page, and keep the answer, as a rule with the page itself.

        Raises:
            Refused, Retryable: as `place`.
        """
        kept: list[Answer] = []

        async def keep(connection: Connection, order: Order) -> None:
            failpoint("before_answer_kept")
            answer = answer_of(order)
            await idempotency.finish(connection, key, status=answer.status, body=answer.body)
            kept.append(answer)

        async with self._at_work(begun.id, key):
            order = await self.advancing.advance(begun, keep)
        if not kept:  # it had its page already, or needs none
            return await self._kept(key, answer_of(order))
        failpoint("after_answer_kept")
        return kept[-1]

    async def _charged(self, begun: Order, key: Key, token: str) -> Answer:
        """Charge an order that was begun under `key`, and keep the answer."""
        async with self._at_work(begun.id, key):
            answer = await self.charging.answer(await self.advancing.advance(begun), token)
        return await self._kept(key, answer)

    @contextlib.asynccontextmanager
    async def _at_work(self, order_id: UUID, key: Key) -> AsyncIterator[None]:
        """Hold the leases of the order and the key while a request is at work; what refuses it is its answer."""
        try:
            with self.advancing.leases.held(Work(order_id, key)):
                yield
        except Refused as refusal:
            # What was said no to is answered again to a repeat: only a new key may try anew.
            await self._finish(key, kept_refusal(refusal))
            raise
        except Retryable as failure:
            if failure.code != "database_unavailable":  # whose leases end by themselves
                async with tidying_up():
                    await self._release(key, order_id)
            raise

    async def _kept(self, key: Key, answer: Answer) -> Answer:
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

    async def _begin(self, wanted: Placement, key: Key, token: str) -> Order | Answer:
        async with self.outbox.transaction() as tx:
            order_id = new_id()
            if (earlier := await self.claim(tx, key, order_id)) is not None:
                return earlier
            order = await self.insert(tx, order_id, wanted, token)
        metrics.ORDERS.labels("placed").inc()
        return order

    async def claim(self, tx: Transaction, key: Key, order_id: UUID) -> Order | Answer | None:
        """Take `key`: the answer that is kept under it, the order that an earlier request began and did not finish, or
        None, when there is neither: then it is for the new order `order_id`."""
        claim = await idempotency.claim(tx.connection, key, lease_seconds=LEASE_SECONDS, resource_id=order_id)
        match claim:
            case Replay(status=status, body=body):
                return Answer(status, body, replayed=True)
            case Resumed(resource_id=UUID() as begun):
                order = await store.load_order(tx.connection, begun)
                if order is not None and order.state is not State.CANCELED:
                    await take_over(tx, order)
                    return await store.load_order(tx.connection, begun)  # as whoever was at work on it has left it
                if order is not None and order.saved_method is not None and order.session_asked_at is not None:
                    # Somebody has ended it meanwhile, and it is not charged behind his back.
                    raise Refused("order_canceled", "The order was canceled before it was paid.")
        if not isinstance(claim, Claimed):
            await idempotency.attach(tx.connection, key, order_id)
        return None

    async def insert(self, tx: Transaction, order_id: UUID, wanted: Placement, token: str) -> Order:
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
        purse = await crediting.purse_of(tx.connection, wanted)
        quote = await self.pricing.quote(tx.connection, wanted, moment.now)
        quote = crediting.paid_with(quote, wanted, purse, moment.now)
        check_address(quote, wanted.one_click.recipient if wanted.one_click else None)
        if wanted.one_click is not None:
            charging.check_total(quote, wanted.one_click.expected_total_minor)
        way = await self._way_to_pay(tx, order_id, wanted, quote, moment.now)
        order = await store.insert_order(
            tx.connection,
            order_id,
            quote,
            email=wanted.email,
            customer_subject=wanted.customer_subject,
            locale=wanted.locale,
            token_hash=hash_token(token),
            stripe_request=way.request,
            expires_at=way.expires_at,
            lease_seconds=LEASE_SECONDS,
            recovered_from=wanted.recovered_from,
            saved_method=way.saved_method,
            retry_seconds=way.retry_seconds,
            split=way.split,
        )
        await crediting.reserve(tx.connection, order_id, quote, purse, moment.now)
        await self.gates.remember(tx.connection, order_id, wanted, way.risk)
        if quote.coupon is not None:
            await catalog.hold_coupon(
                tx.connection,
                quote.coupon,
                order_id,
                wanted.email,
                wanted.customer_subject,
                promotion=quote.promotion,
            )
        tx.announce(saying.placed(order_id, quote, wanted, way.expires_at))
        return order

    async def _way_to_pay(self, tx: Transaction, order_id: UUID, wanted: Placement, quote: Quote, now: datetime) -> Way:
        """How a new order is paid: not at Stripe, on a page, or with a saved method."""
        origin, rules = self.terms.origin, self.terms.page
        if wanted.one_click is None:
            expires_at = paging.end_of(wanted.page, rules, now)
        else:
            expires_at = (now + timedelta(seconds=OWNER_SECONDS)).replace(microsecond=0)
        if quote.covered:
            return Way(asking.covered(order_id, quote, wanted, origin), expires_at)
        if wanted.one_click is None:
            request = asking.session_of(order_id, quote, wanted, origin, expires_at, rules=rules)
            request, risk = await self.gates.secured(tx.connection, wanted, quote, request)
            return Way(request, expires_at, risk=risk)
        await self.customers.renew(tx.connection, wanted.customer_subject, wanted.account_email)
        chosen = await self.charging.methods_for(tx.connection, wanted, quote, now)
        saved, _ = chosen[0]
        if wanted.one_click.split:
            asked = paging.secured_params(quote, rules, wanted.delivery.destination)
            _, risk = await self.gates.secured(tx.connection, wanted, quote, asked)
            if risk is not None:
                raise Refused("one_click_not_offered", "The bank of each card has to be asked; pay with one of them.")
            request = asking.split_of(order_id, quote, [(one.method, amount) for one, amount in chosen], wanted)
            split = Split(tuple(Leg(one.method.id, amount) for one, amount in chosen))
            return Way(request, expires_at, saved.method.id, split=split)
        request = asking.charge_of(order_id, quote, saved.method, wanted, origin)
        again = retrying.schedule_of(saved.method, self.terms.retry_seconds, wanted=wanted.one_click.retry_later)
        if saved.method.type != "card":
            return Way(request, expires_at, saved.method.id, again)
        asked = {**request["create"], **paging.secured_params(quote, rules, wanted.delivery.destination)}
        secured, risk = await self.gates.secured(tx.connection, wanted, quote, asked)
        if risk is None:
            return Way(request, expires_at, saved.method.id, again)
        return Way(asking.with_owner(request, secured), expires_at, saved.method.id, risk=risk)


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
    return stopped(Switch.CHECKOUTS, "No orders are taken at the moment.")


def hash_token(token: str) -> bytes:
    """How an order's token is kept."""
    return hashlib.sha256(token.encode()).digest()


def rendered(order: Order, token: str) -> Mapping[str, object]:
    """The answer to a placement. An order of which nothing is left to pay has no page: its buyer goes on to where he
    would come back to from one."""
    return {
        "order_id": external_id("ord", order.id),
        "order_token": token,
        "status": "paid" if order.covered else "pending",
        "currency": order.currency,
        "subtotal_minor": order.subtotal_minor,
        "discount_minor": order.discount_minor,
        "shipping_minor": order.shipping_minor,
        "tax_minor": order.tax_minor,
        "total_minor": order.total_minor,
        "store_credit_minor": order.store_credit_minor,
        "amount_due_minor": order.due_minor,
        "checkout_url": order.stripe_request["success_url"] if order.covered else order.stripe_session_url,
        "expires_at": order.expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def kept_refusal(refusal: Refused) -> Answer:
    """A refusal as it is kept under an idempotency key."""
    body: dict[str, object] = {"code": refusal.code, "detail": refusal.detail, "extra": refusal.extra}
    body["errors"] = [[e.pointer, e.detail, e.code] for e in refusal.errors]
    return Answer(refusal.status, json.dumps(body).encode())
