"""Take up again what a buyer has left: a new order from the cart of one that ended, at today's prices."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from uuid import UUID

from checkout.decide import paging, shipping
from checkout.decide import recovering as rules
from checkout.decide.learning import Account
from checkout.decide.recovering import Change, Course, Links
from checkout.handlers.canceling import Canceling
from checkout.handlers.ledger import open_ledger
from checkout.handlers.placing import Placing, checkouts_stopped, rendered, take_over
from checkout.model.carts import Quote, Wanted
from checkout.model.delivery import Delivery, Tax
from checkout.model.delivery import Offer as Offered
from checkout.model.facts import OrderEnded
from checkout.model.orders import Answer, Client, Order, Placement
from checkout.store import catalog, promotions
from checkout.store import orders as store
from payments_shared import metrics
from payments_shared.errors import Refused
from payments_shared.idempotency import Key
from payments_shared.ids import external_id, new_id
from payments_shared.messaging import Transaction
from payments_shared.postgres import Connection, acquire, unavailable_as_retryable


@dataclass(frozen=True, slots=True)
class Paths:
    """Where buyers come back to, unless the order that ended says so itself."""

    success: str
    cancel: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What taking up an order again would come to today. `open`: it is taken up already."""

    before: Order
    quote: Quote
    changes: tuple[Change, ...]
    open: Order | None = None


@dataclass(frozen=True, slots=True)
class Taker:
    """Who takes an order up again: his customer at Stripe, if he has one, and from where he asks. `subject` is set when
    he is its customer and signed in: a link may have been passed on, and opens no account."""

    customer: str | None
    subject: str | None
    address: str
    client: Client


@dataclass(frozen=True, slots=True)
class Recovering:
    """`placing` brings the new order to its page, `canceling` closes the page of one that was given up.

    What is no longer sold and a coupon that no longer holds are left out, and said to be.
    """

    placing: Placing
    canceling: Canceling
    links: Links
    paths: Paths

    async def check_link(self, token: str, order: Order) -> None:
        """Whether the link that somebody was sent opens `order`.

        Raises:
            Refused: as `decide.recovering.Links.check`.
        """
        with unavailable_as_retryable():
            async with acquire(self.placing.outbox.pool) as connection:
                now = await store.business_now(connection)
        self.links.check(token, order.id, now)

    async def offer(self, order: Order) -> Offer:
        """What `recover` would make of `order`. Nothing is changed, and no stock is asked for.

        Raises:
            Refused: as `recover`, stock apart.
        """
        with unavailable_as_retryable():
            async with self.placing.outbox.transaction() as tx:
                family = await _seen_family(tx.connection, _first(order))
                before, course = family[0].order, rules.course(family)
                if course.open is not None:
                    return _offered(before, _quote_of(course.open), course.open)
                now = await store.business_now(tx.connection)
                # Their pages are closed first, and what they hold of a coupon is their buyer's again.
                beside = [left.id for left in course.closing]
                _, quote = await self._as_of_today(tx.connection, before, None, now, beside=beside)
        return _offered(before, quote, None)

    async def recover(
        self, order: Order, key: Key, *, account_email: str | None, signed_in: bool, address: str, client: Client
    ) -> Answer:
        """Make a new order of what `order` was, and answer as to a placement. While one that was made so is open, its
        answer is given again, whoever asks.

        Only its customer himself, `signed_in`, is offered what he saved, and pays with store credit again if the order
        did: a link may have been passed on. `address` and `client` are from where is asked.

        Raises:
            Refused: as `decide.recovering.course`; 409 `nothing_left`; and as `Placing.place`.
            Retryable: as `Placing.place`.
        """
        for left in await self._to_close(_first(order), address):
            await self._close(left)
        subject = order.customer_subject if signed_in else None
        with unavailable_as_retryable():
            customer = await self.placing.customers.meanwhile(subject, account_email)
            begun = await self._begin(_first(order), key, Taker(customer, subject, address, client))
        if isinstance(begun, Answer):
            return begun
        before = await self._order(_first(order))

        def answer_of(made: Order) -> Answer:
            return Answer(201, json.dumps(self._rendered(before, made)).encode())

        return await self.placing.complete(begun, key, answer_of)

    async def _to_close(self, first: UUID, address: str) -> tuple[Order, ...]:
        """The orders whose pages end by this. What cannot be taken up now can still be paid as it is: whatever would
        refuse the new order is looked for before."""
        with unavailable_as_retryable():
            async with self.placing.outbox.transaction() as tx:
                family = await _seen_family(tx.connection, first)
                closing = rules.course(family).closing
                if closing:
                    moment = await store.load_moment(tx.connection)
                    if moment.stopped:
                        raise checkouts_stopped()
                    await self.placing.gates.admit(tx.connection, self._asking(family[0].order, address))
                    await self._as_of_today(tx.connection, family[0].order, None, moment.now)
        return closing

    async def _close(self, left: Order) -> None:
        """Close the page of an order that was given up; a payment that was quicker wins."""
        try:
            await self.canceling.end(left, rules.SUPERSEDED)
        except Refused as refusal:
            if refusal.code != "order_not_cancelable":
                raise
            raise rules.paid(str(refusal.extra["order_status"])) from refusal

    async def _begin(self, first: UUID, key: Key, taker: Taker) -> Order | Answer:
        async with self.placing.outbox.transaction() as tx:
            order_id = new_id()
            if (earlier := await self.placing.claim(tx, key, order_id)) is not None:
                return earlier
            before = await store.load_order(tx.connection, first)
            assert before is not None  # noqa: S101 - orders are never deleted
            await self.placing.gates.take_turn(tx.connection, self._asking(before, taker.address))
            family = await _locked_family(tx.connection, first)
            course = rules.course(family)
            if course.open is not None:
                await take_over(tx, course.open)  # the order stays that of the key under which it was made
                return course.open
            order = await self._insert(tx, order_id, family[0].order, course, taker)
        metrics.ORDERS.labels("placed").inc()
        return order

    async def _insert(self, tx: Transaction, order_id: UUID, before: Order, course: Course, taker: Taker) -> Order:
        now = await store.business_now(tx.connection)
        wanted, _ = await self._as_of_today(tx.connection, before, taker.customer, now)
        for ended in course.superseded:
            await self.placing.advancing.facts.learn(tx, ended, OrderEnded(rules.SUPERSEDED))
        token = self.links.order_token(order_id)
        uses_credit = taker.subject is not None and before.store_credit_minor > 0  # locked with the family
        asked = replace(wanted, address=taker.address, client=taker.client, use_store_credit=uses_credit)
        return await self.placing.insert(tx, order_id, asked, token)

    async def _as_of_today(
        self,
        connection: Connection,
        before: Order,
        customer: str | None,
        now: datetime,
        *,
        beside: Sequence[UUID] = (),
    ) -> tuple[Placement, Quote]:
        """What can be had of `before` today, and at what price. The coupon stays locked; uses of it that the orders
        `beside` hold are free by then."""
        skus, pricing = [line.sku for line in before.lines], self.placing.pricing
        prices = await catalog.load_prices(connection, skus, before.currency, pricing.currency)
        sold = {
            price.sku
            for price in prices.values()
            if price.active and (price.unit_amount_minor or price.base_amount_minor)
        }
        wanted = self._wanted(before, [sku for sku in skus if sku in sold], customer)
        if wanted.coupon is not None:
            # The code that was typed, which may be narrower than the coupon that it stood for.
            wanted = replace(wanted, coupon=await promotions.used_for(connection, before.id) or wanted.coupon)
        if not wanted.lines:
            raise Refused("nothing_left", "Nothing of this order is sold any more.")
        try:
            return wanted, await pricing.quote(connection, wanted, now, beside=beside)
        except Refused as refusal:
            if wanted.coupon is None or not refusal.code.startswith("coupon_"):
                raise
        wanted = replace(wanted, coupon=None)
        return wanted, await pricing.quote(connection, wanted, now)

    def _asking(self, before: Order, address: str) -> Placement:
        """Who asks for a new order, and from where."""
        return replace(self._wanted(before, [], None), address=address)

    def _wanted(self, before: Order, skus: list[str], customer: str | None) -> Placement:
        urls, origin = before.stripe_request, self.placing.terms.origin
        return Placement(
            lines=tuple(Wanted(line.sku, line.quantity) for line in before.lines if line.sku in skus),
            currencies=(before.currency,),
            coupon=before.coupon,
            email=before.email,
            customer_subject=before.customer_subject,
            account_email=None,
            locale=before.locale,
            success_path=rules.path_of(urls.get("success_url"), origin, before.id) or self.paths.success,
            cancel_path=rules.path_of(urls.get("cancel_url"), origin, before.id) or self.paths.cancel,
            customer=customer,
            recovered_from=before.id,
            delivery=shipping.wish_again(before.tax, before.shipping),
            page=paging.wish_again(before.stripe_request),
        )

    def _rendered(self, before: Order, made: Order) -> Mapping[str, object]:
        found = _offered(before, _quote_of(made), made)
        answer = rendered(made, self.links.order_token(made.id))
        changes = [told(change) for change in found.changes]
        return {**answer, "recovered_from": external_id("ord", before.id), "changes": changes}

    async def _order(self, order_id: UUID) -> Order:
        with unavailable_as_retryable():
            async with acquire(self.placing.outbox.pool) as connection:
                order = await store.load_order(connection, order_id)
        assert order is not None  # noqa: S101 - orders are never deleted
        return order


def told(change: Change) -> dict[str, object]:
    """A change as it is answered: what it does not speak of is left out."""
    return {name: value for name, value in asdict(change).items() if value is not None}


def _first(order: Order) -> UUID:
    return order.recovered_from or order.id


def _quote_of(order: Order) -> Quote:
    way = Delivery((Offered("", "", order.shipping_minor),), ()) if order.shipping_minor else None
    tax = Tax(added_minor=order.tax_minor)
    goods = (order.currency, order.lines, order.subtotal_minor, order.discount_minor, order.coupon)
    return Quote(*goods, delivery=way, tax=tax)


def _offered(before: Order, quote: Quote, taken_up: Order | None) -> Offer:
    found = rules.changes(before, quote.lines, coupon=quote.coupon, discount_minor=quote.discount_minor)
    return Offer(before, quote, found, taken_up)


async def _seen_family(connection: Connection, first: UUID) -> list[Account]:
    """The order and all that take it up again, as they are now.

    States are read before the facts that they follow from: whatever happens in between, no state is seen without the
    fact that explains it.
    """
    ids = [first, *await store.list_recoveries(connection, first)]
    orders = [await store.load_order(connection, order_id) for order_id in ids]
    history = await store.load_history(connection, ids)
    return [
        Account(order, history.facts.get(order.id, {}), frozenset(history.said.get(order.id, ())))
        for order in orders
        if order is not None
    ]


async def _locked_family(connection: Connection, first: UUID) -> list[Account]:
    """As `_seen_family`, locked until the transaction ends.

    The first order's lock ends the race of two who take it up at once; those who take it up are younger than it, so
    that a batch of facts, which locks in the order of ids, cannot wait for us while we wait for it.
    """
    await store.lock_order(connection, first)
    ids = [first, *await store.list_recoveries(connection, first)]
    ledger = await open_ledger(connection, ids)
    return [ledger.accounts[order_id] for order_id in ids]
