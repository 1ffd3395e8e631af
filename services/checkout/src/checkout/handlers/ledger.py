"""The orders of one transaction: locked and loaded as one set, changed fact by fact, saved as one set."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog

from checkout.decide import coupons, crediting
from checkout.decide import order as rules
from checkout.decide.learning import Account, Learned
from checkout.decide.promotions import counted, has_use_left, narrowed
from checkout.handlers.crediting import open_book
from checkout.model.carts import Coupon, Promotion, Redemption
from checkout.model.credit import EMPTY_BOOK, Book
from checkout.model.facts import Fact
from checkout.model.orders import Order, Saying, State, Step
from checkout.model.risks import Risk
from checkout.store import catalog, credit, promotions, risks
from checkout.store import orders as store
from payments_shared import metrics
from payments_shared.postgres import Connection

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Ledger:
    """What is known of the orders, as it stands after each fact, and what is to be saved of them at the end.

    `now` is the business clock of the transaction, `book` the store credit that they use.
    """

    accounts: dict[UUID, Account]
    now: datetime
    book: Book = EMPTY_BOOK
    _book_before: Book = EMPTY_BOOK
    _by_session: dict[str, UUID] = field(default_factory=dict)
    _by_intent: dict[str, UUID] = field(default_factory=dict)
    _changed: set[UUID] = field(default_factory=set)
    _facts: list[tuple[UUID, Fact]] = field(default_factory=list)
    _said: list[Saying] = field(default_factory=list)
    _steps: list[Step] = field(default_factory=list)
    _opened: dict[str, UUID] = field(default_factory=dict)
    _closed: set[UUID] = field(default_factory=set)
    _uses: list[tuple[UUID, str]] = field(default_factory=list)
    _risks: list[tuple[UUID, Risk]] = field(default_factory=list)
    _reflected: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._book_before = self.book
        for account in self.accounts.values():
            self._index(account.order)

    def find(self, session_id: str | None, payment_intent: str | None) -> UUID | None:
        """The order that a session or intent is stored with, among those here."""
        return self._by_session.get(session_id or "") or self._by_intent.get(payment_intent or "")

    def show(self, order: Order) -> None:
        """Keep a change of what is shown of an order, which no fact makes."""
        account = self.accounts[order.id]
        if order != account.order:
            changed = replace(order, version=order.version + 1)
            self.accounts[order.id] = Account(changed, account.facts, account.said)
            self._changed.add(order.id)
            self._use_credit(changed)

    def has_credit_for(self, order: Order) -> bool:
        """Whether what the order gave back of its store credit is there to be used by it once more."""
        return crediting.has_again(self.book, order, self.now)

    def _use_credit(self, order: Order) -> None:
        if order.store_credit_minor:
            self.book = crediting.moved(self.book, order, self.now)

    def learn(self, fact: Fact, learned: Learned) -> None:
        """Keep what a new fact made of an order."""
        after = learned.account.order
        before = self.accounts[after.id].order
        self.accounts[after.id] = learned.account
        self._changed.add(after.id)
        self._facts.append((after.id, fact))
        self._index(after, before)
        if after.stripe_session_id is not None and before.stripe_session_id is None:
            self._opened[after.stripe_session_id] = after.id
        if after.saved_method and after.stripe_payment_intent and before.stripe_payment_intent is None:
            self._opened[after.stripe_payment_intent] = after.id
        if after.state is not before.state:
            self._steps.append(Step(after.id, before.state, after.state))
        if after.state not in (State.PENDING, State.DECLINED):
            self._closed.add(after.id)
        if after.coupon is not None:
            self._uses.append((after.id, rules.coupon_use(learned.seen)))
        self._use_credit(after)

    def say(self, saying: Saying) -> None:
        """Remember that something was said, so that it is said once."""
        account = self.accounts[saying.order_id]
        self.accounts[saying.order_id] = replace(account, said=account.said | {saying.key})
        self._said.append(saying)

    def note(self, order_id: UUID, risk: Risk) -> None:
        """Keep a decision; one that is known stays as it was."""
        self._risks.append((order_id, risk))

    def heard(self, order_id: UUID, before: State, created: int) -> None:
        """What Stripe made at `created`, in Unix seconds, was learned of an order that was `before`."""
        if before is not State.PAID and self.accounts[order_id].order.state is State.PAID:
            self._reflected.append(max(0.0, self.now.timestamp() - created))

    def _index(self, order: Order, before: Order | None = None) -> None:
        forgotten = before.stripe_payment_intent if before else None
        if forgotten and forgotten != order.stripe_payment_intent and self._by_intent.get(forgotten) == order.id:
            del self._by_intent[forgotten]
        if order.stripe_session_id:
            self._by_session.setdefault(order.stripe_session_id, order.id)
        if order.stripe_payment_intent:
            self._by_intent.setdefault(order.stripe_payment_intent, order.id)

    async def save(self, connection: Connection) -> None:
        """Save everything that changed."""
        if self._changed:
            await store.save_ledger(
                connection,
                [self.accounts[order_id].order for order_id in self._changed],
                facts=self._facts,
                said=self._said,
                steps=self._steps,
                opened=self._opened,
                closed=self._closed,
            )
        for gate, outcome in await risks.keep_risks(connection, self._risks) if self._risks else ():
            metrics.RISK_DECISIONS.labels(gate, outcome).inc()
        for step in self._steps:
            metrics.ORDERS.labels(step.after.value).inc()
            if step.after is State.PAID:
                _count_paid(self.accounts[step.order_id].order)
        for seconds in self._reflected:
            metrics.PAYMENT_REFLECTED_SECONDS.observe(seconds)
        if self.book.entries:
            await credit.save_book(connection, self._book_before, self.book)
        if self._uses:
            await settle_coupons(connection, self._uses)


def _count_paid(order: Order) -> None:
    metrics.ORDERS_PAID_MINOR.labels(metrics.currency(order.currency)).inc(order.total_minor)
    if "elsewhere" in (order.tax or {}):
        metrics.ORDERS_TAXED_ELSEWHERE.inc()
        log.warning("order.taxed_elsewhere", order_id=order.id)


async def open_ledger(connection: Connection, order_ids: Iterable[UUID]) -> Ledger:
    """Those of `order_ids` that exist, locked until the transaction ends."""
    orders = await store.lock_orders(connection, set(order_ids))
    book = await open_book(connection, orders.values())
    history = await store.load_history(connection, orders)
    accounts = {
        order_id: Account(order, history.facts.get(order_id, {}), frozenset(history.said.get(order_id, ())))
        for order_id, order in orders.items()
    }
    return Ledger(accounts, history.now, book)


async def settle_coupons(connection: Connection, wanted: Collection[tuple[UUID, str]]) -> None:
    """Move the orders' uses of their coupons to what is wanted, one after the other, with the counters.

    Orders come first, then store credit, then uses of coupons, then the coupons, each in an order of their own: nobody
    waits in a circle.
    """
    uses = await store.lock_redemptions(connection, {order_id for order_id, _ in wanted})
    before = dict(uses)
    codes = {uses[order_id].code for order_id, use in wanted if order_id in uses and uses[order_id].state != use}
    if not codes:
        return
    known = await catalog.lock_coupons(connection, codes)
    codes_used = {use.promotion for use in uses.values() if use.promotion is not None}
    standing_for = await promotions.load_many(connection, codes_used) if codes_used else {}
    others = await _other_uses(connection, uses, known, standing_for)
    after = dict(known)
    for order_id, use in wanted:
        if (redemption := uses.get(order_id)) is None or redemption.code not in after:
            continue
        coupon = after[redemption.code]
        promotion = standing_for.get(redemption.promotion or "")
        under, left = narrowed(coupon, promotion), has_use_left(promotion)
        is_late = redemption.state == "released"
        beside = others.get(order_id, 0) + coupons.uses_beside(redemption, uses.values()) if is_late else 0
        state = coupons.next_use(redemption.state, use, under, beside, code_left=left)
        after[redemption.code] = coupons.counted(coupon, redemption.state, state)
        if promotion is not None:
            standing_for[promotion.code] = counted(promotion, redemption.state, state)
        uses[order_id] = replace(redemption, state=state)
    await store.save_redemptions(connection, [use for order_id, use in uses.items() if use != before[order_id]])
    await catalog.save_uses(connection, [coupon for code, coupon in after.items() if coupon != known[code]])


async def _other_uses(
    connection: Connection,
    uses: Mapping[UUID, Redemption],
    known: Mapping[str, Coupon],
    standing_for: Mapping[str, Promotion],
) -> dict[UUID, int]:
    """For released uses of coupons that a customer has only so often: what he uses them for beside `uses`."""
    limited = {code for code, coupon in known.items() if coupon.per_customer is not None or coupon.first_order_only}
    limited |= {promotion.coupon for promotion in standing_for.values() if promotion.first_order_only}
    asked = [use.order_id for use in uses.values() if use.state == "released" and use.code in limited]
    return await catalog.count_other_uses(connection, asked, beside=uses.keys()) if asked else {}
