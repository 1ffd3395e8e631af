"""Store credit: grants, what orders use of them, and statements."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from checkout.model.credit import Book, CreditEntry, CreditSource, CreditState, CreditUse, EntryShown, Grant
from payments_shared.ids import new_id
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def lock_open_grants(connection: Connection, subject: str) -> list[Grant]:
    """What a customer may use, locked until the transaction ends."""
    return _grants(await connection.fetch(QUERIES["lock_open_grants"], subject))


async def open_grants(connection: Connection, subject: str) -> list[Grant]:
    """What a customer may use, not locked."""
    return _grants(await connection.fetch(QUERIES["open_grants"], subject))


async def open_book(connection: Connection, subjects: Collection[str], order_ids: Collection[UUID]) -> Book:
    """What orders, which are locked, use of store credit, and what their customers may use, locked as well."""
    rows = await connection.fetch(QUERIES["lock_grants_of_orders"], list(subjects), list(order_ids))
    found = await connection.fetch(QUERIES["uses_of_orders"], list(order_ids))
    uses = [
        CreditUse(row["order_id"], row["grant_id"], row["amount_minor"], CreditState(row["state"])) for row in found
    ]
    return Book(
        grants=MappingProxyType({grant.id: grant for grant in _grants(rows)}),
        uses=MappingProxyType({(use.order_id, use.grant_id): use for use in uses}),
    )


async def save_book(connection: Connection, before: Book, after: Book) -> None:
    """Save what changed of a book, and enter it into the statements."""
    grants = [grant for grant in after.grants.values() if grant != before.grants.get(grant.id)]
    uses = [use for key, use in after.uses.items() if use != before.uses.get(key)]
    await connection.execute(
        QUERIES["save_grants"],
        [grant.id for grant in grants],
        [grant.reserved_minor for grant in grants],
        [grant.spent_minor for grant in grants],
        [grant.expired_minor for grant in grants],
    )
    await connection.execute(
        QUERIES["save_credit_uses"],
        [use.order_id for use in uses],
        [use.grant_id for use in uses],
        [use.amount_minor for use in uses],
        [use.state.value for use in uses],
    )
    subjects = {grant.id: grant.customer_subject for grant in after.grants.values()}
    await enter(connection, [(subjects[entry.grant_id], entry) for entry in after.entries])


async def enter(connection: Connection, entries: Sequence[tuple[str, CreditEntry]]) -> None:
    """Enter what happened into the statements of customers, by their subjects."""
    await connection.execute(
        QUERIES["enter_credit"],
        [new_id() for _ in entries],
        [subject for subject, _ in entries],
        [entry.grant_id for _, entry in entries],
        [entry.order_id for _, entry in entries],
        [entry.kind for _, entry in entries],
        [entry.amount_minor for _, entry in entries],
    )


async def lock_administrator(connection: Connection, administrator: str) -> None:
    """Whoever else gives as this administrator waits until the transaction ends. What he gave must be read by a
    statement after it."""
    await connection.execute(QUERIES["lock_administrator"], administrator)


async def given_within(connection: Connection, administrator: str, currency: str, window: timedelta) -> int:
    """What an administrator gave in a currency within `window`, in minor units; exact only under his lock."""
    given: int = await connection.fetchval(QUERIES["given_within"], administrator, currency, window)
    return given


async def insert_grant(connection: Connection, grant: Grant) -> bool:
    """Save a grant; False when one of its reference is known."""
    row = await connection.fetchrow(
        QUERIES["insert_grant"],
        grant.id,
        grant.customer_subject,
        grant.currency,
        grant.amount_minor,
        grant.expires_at,
        grant.source.value,
        grant.reference,
        grant.note,
        grant.granted_by,
        grant.created_at,
    )
    return row is not None


async def load_by_reference(connection: Connection, source: CreditSource, reference: str) -> Grant | None:
    """What was given under a reference."""
    row = await connection.fetchrow(QUERIES["load_grant_by_reference"], source.value, reference)
    return None if row is None else _grant(row)


async def list_grants(connection: Connection, subject: str, limit: int) -> list[Grant]:
    """A customer's grants, the newest first."""
    return _grants(await connection.fetch(QUERIES["list_grants"], subject, limit))


async def in_use(connection: Connection, subject: str) -> list[Grant]:
    """The grants of which anything is left, or reserved."""
    return _grants(await connection.fetch(QUERIES["credit_in_use"], subject))


async def list_entries(connection: Connection, subject: str, after: UUID | None, limit: int) -> list[EntryShown]:
    """A customer's statement, the newest line first, from the one after `after` on."""
    return await fetch_as(connection, EntryShown, QUERIES["list_credit_entries"], subject, after, limit)


async def lock_expired(connection: Connection) -> list[Grant]:
    """Grants whose time has passed while something was left of them, locked."""
    return _grants(await connection.fetch(QUERIES["lock_expired_grants"]))


def _grants(rows: Sequence[Any]) -> list[Grant]:  # Any: asyncpg.Record has untyped columns
    return [_grant(row) for row in rows]


def _grant(row: Any) -> Grant:  # Any: as above
    columns = dict(row.items())
    columns["source"] = CreditSource(columns["source"])
    return Grant(**columns)
