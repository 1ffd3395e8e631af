"""What customers were given to pay with: given by people, kept by orders, shown to its owner, and lost in time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from checkout.decide import crediting as rules
from checkout.model.carts import Quote
from checkout.model.credit import (
    EMPTY_BOOK,
    NOTHING_TO_GIVE,
    Balance,
    Book,
    CreditEntry,
    CreditSource,
    EntryShown,
    Grant,
    GrantLimits,
)
from checkout.model.orders import Order, Placement
from checkout.store import credit as store
from checkout.store import methods
from checkout.store.orders import business_now
from payments_shared.contracts import checkout as said
from payments_shared.contracts import refunds
from payments_shared.errors import Poison, Refused
from payments_shared.ids import external_id, new_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import Connection, acquire
from payments_shared.sweeper import Round

GRANTS_SHOWN: Final = 100  # to staff; the statement has all of them


async def purse_of(connection: Connection, wanted: Placement) -> Sequence[Grant]:
    """What a new order may use, locked until the transaction ends; nothing, unless its buyer wants that.

    It comes before the locks of coupons, here as in batches of facts: nobody waits in a circle.
    """
    if not wanted.use_store_credit or wanted.customer_subject is None:
        return ()
    return await store.lock_open_grants(connection, wanted.customer_subject)


async def seen_purse_of(connection: Connection, wanted: Placement) -> Sequence[Grant]:
    """As above, not locked."""
    if not wanted.use_store_credit or wanted.customer_subject is None:
        return ()
    return await store.open_grants(connection, wanted.customer_subject)


def paid_with(quote: Quote, wanted: Placement, purse: Sequence[Grant], now: datetime) -> Quote:
    """The quote, paid with what can be used of the purse, if its buyer wants that.

    Raises:
        Refused: as `decide.crediting.with_credit`.
    """
    if not wanted.use_store_credit:
        return quote
    recipient = wanted.one_click.recipient if wanted.one_click else None
    return rules.with_credit(quote, purse, now, recipient=recipient)


async def reserve(connection: Connection, order_id: UUID, quote: Quote, purse: Sequence[Grant], now: datetime) -> None:
    """Keep of the locked purse what the new order, which is saved already, is paid with."""
    if not quote.store_credit_minor:
        return
    before = Book(MappingProxyType({grant.id: grant for grant in purse}))
    need = rules.Need(order_id, purse[0].customer_subject, quote.store_credit_minor, quote.currency)
    await store.save_book(connection, before, rules.reserved(before, need, now))


async def open_book(connection: Connection, orders: Collection[Order]) -> Book:
    """What those of the locked `orders` that use store credit use, and what their customers have, locked as well."""
    using = [order for order in orders if order.store_credit_minor]
    if not using:
        return EMPTY_BOOK
    subjects = {order.customer_subject for order in using if order.customer_subject is not None}
    return await store.open_book(connection, subjects, [order.id for order in using])


async def book(tx: Transaction, grant: Grant) -> tuple[Grant, bool]:
    """Give credit, once for each reference of its source; and whether it was given now.

    Raises:
        Refused: 422 `expires_in_the_past`, 409 `reference_in_use`: something else was given under it.
    """
    now = await business_now(tx.connection)
    known = await store.load_by_reference(tx.connection, grant.source, grant.reference)
    if known is None:
        rules.check_grant(grant, now)
        made = replace(grant, created_at=now)
        if await store.insert_grant(tx.connection, made):
            entry = CreditEntry("granted", made.id, None, made.amount_minor)
            await store.enter(tx.connection, [(made.customer_subject, entry)])
            return made, True
        known = await store.load_by_reference(tx.connection, grant.source, grant.reference)
        assert known is not None  # noqa: S101 - that was in the way, and grants are never deleted
    rules.check_same(known, grant)
    return known, False


@dataclass(frozen=True, slots=True)
class Statement:
    """A page of a customer's statement, whether there are more, and his balances."""

    balances: tuple[Balance, ...]
    entries: list[EntryShown]
    more: bool


async def give_back(tx: Transaction, message: refunds.StoreCreditIssued) -> None:
    """Give what a refund turns into store credit, once for each refund, and say so each time.

    Raises:
        Poison: something else was given for the refund.
    """
    grant = Grant(
        id=new_id(),
        customer_subject=message.account,
        currency=message.currency,
        amount_minor=message.amount_minor,
        expires_at=message.expires_at,
        source=CreditSource.REFUND,
        reference=external_id("ref", message.refund_id),
        note="",
        granted_by="refunds",
        created_at=await business_now(tx.connection),
    )
    try:
        await book(tx, grant)
    except Refused as refused:
        raise Poison(refused.code, refused.detail) from refused
    tx.announce(
        said.StoreCreditBooked(
            order_id=message.order_id,
            refund_id=message.refund_id,
            amount_minor=message.amount_minor,
            currency=message.currency,
        )
    )


@dataclass(frozen=True, slots=True)
class Crediting:
    """Grants within `limits`, statements, and the sweep of what expires."""

    outbox: Outbox
    limits: GrantLimits = NOTHING_TO_GIVE

    async def grant(self, grant: Grant, giver_email: str | None) -> tuple[Grant, bool]:
        """Give credit in a transaction of its own, as `book`, within the limits of whoever gives it, whose token names
        `giver_email`, and not to himself. What is given once more under its reference is not counted again.

        Raises:
            Refused: as `book`, as `rules.check_giver` and as `rules.check_limits`.
        """
        async with self.outbox.transaction() as tx:
            await store.lock_administrator(tx.connection, grant.granted_by)
            if await store.load_by_reference(tx.connection, grant.source, grant.reference) is None:
                known = await methods.load_customer(
                    tx.connection, grant.customer_subject, livemode=self.outbox.livemode
                )
                rules.check_giver(grant, giver_email, known.email if known else None)
                window = rules.ADMINISTRATOR_WINDOW
                given_minor = await store.given_within(tx.connection, grant.granted_by, grant.currency, window)
                rules.check_limits(grant, given_minor, self.limits)
            return await book(tx, grant)

    async def statement(self, subject: str, *, after: UUID | None, limit: int) -> Statement:
        """A page of a customer's statement, the newest line first, from the one after `after` on."""
        async with acquire(self.outbox.pool) as connection:
            now = await business_now(connection)
            grants = await store.in_use(connection, subject)
            entries = await store.list_entries(connection, subject, after, limit + 1)
        return Statement(rules.balances(grants, now), entries[:limit], len(entries) > limit)

    async def grants(self, subject: str) -> list[Grant]:
        """A customer's latest grants, the newest first."""
        async with acquire(self.outbox.pool) as connection:
            return await store.list_grants(connection, subject, GRANTS_SHOWN)

    async def expire(self) -> Round:
        """Sweep: enter into statements what was left of grants when their time passed. From that moment on nothing of
        it could be reserved; what an order gives back later expires as well."""
        while True:
            async with acquire(self.outbox.pool) as connection, connection.transaction():
                found = {grant.id: grant for grant in await store.lock_expired(connection)}
                before = Book(MappingProxyType(found))
                if found:
                    await store.save_book(connection, before, rules.expired(before))
            if not found:
                return Round()
