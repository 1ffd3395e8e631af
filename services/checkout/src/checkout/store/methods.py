"""Customers and what they saved to pay with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from checkout.model.customers import Addition, Customer, LastCharge, Method, Renewed, Saved
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")
_OF_METHOD = tuple(field.name for field in fields(Method))


@dataclass(frozen=True, slots=True)
class Expiring:
    """A card that is good for a short time only, and whose it is."""

    method_id: str
    stripe_customer_id: str
    email: str
    default_method: str | None


async def insert_customer(
    connection: Connection, customer_id: UUID, subject: str, email: str | None, *, livemode: bool
) -> None:
    """Remember a person, unless he is known."""
    await connection.execute(QUERIES["insert_customer"], customer_id, subject, livemode, email)


async def renew_customer_email(connection: Connection, subject: str, email: str, *, livemode: bool) -> None:
    """A person who is at Stripe has this address from now on; of others it stays."""
    await connection.execute(QUERIES["renew_customer_email"], subject, livemode, email)


async def list_renewed(connection: Connection, *, livemode: bool, limit: int) -> list[Renewed]:
    """Customers whose newest address Stripe was not told."""
    return await fetch_as(connection, Renewed, QUERIES["list_renewed_customers"], livemode, limit)


async def mark_told(connection: Connection, renewed: Renewed) -> None:
    """Stripe knows this address."""
    await connection.execute(QUERIES["mark_customer_told"], renewed.id, renewed.email_version)


async def load_customer(
    connection: Connection, subject: str, *, livemode: bool, key_seconds: float = 0.0
) -> Customer | None:
    """A person; `key_seconds` of business time after he was first asked for is long ago."""
    return await fetch_one_as(connection, Customer, QUERIES["load_customer"], subject, livemode, key_seconds)


async def mark_customer_asked(connection: Connection, customer: Customer) -> datetime | None:
    """Stripe is about to be asked for a person for the first time, or anew after nothing was found of him.

    The time from which he may exist there; None when he is asked for under another key by now.
    """
    asked_at: datetime | None = await connection.fetchval(
        QUERIES["mark_customer_asked"], customer.id, customer.stripe_attempt, customer.asked_at
    )
    return asked_at


async def keep_stripe_customer(connection: Connection, customer: Customer, stripe_customer_id: str) -> str | None:
    """The person's customer at Stripe: this one, or the one that was stored before. None when he was forgotten."""
    kept: str | None = await connection.fetchval(
        QUERIES["keep_stripe_customer"], customer.id, customer.stripe_attempt, stripe_customer_id
    )
    return kept


async def subject_of(connection: Connection, stripe_customer_id: str) -> str | None:
    """Whose customer at Stripe that is; None: nobody's here."""
    subject: str | None = await connection.fetchval(QUERIES["subject_of_stripe_customer"], stripe_customer_id)
    return subject


async def list_methods(connection: Connection, stripe_customer_id: str) -> list[Saved]:
    """What a customer saved and did not take away, in no order."""
    return [_saved(row) for row in await connection.fetch(QUERIES["list_methods"], stripe_customer_id)]


async def last_charges(connection: Connection, subject: str) -> dict[str, LastCharge]:
    """How the methods of a person were charged last, by method; those that were charged with one click."""
    found = await fetch_as(connection, LastCharge, QUERIES["list_last_charges"], subject)
    return {charge.method_id: charge for charge in found}


async def load_method(connection: Connection, method_id: str) -> Saved | None:
    """A method, not locked; also one that was detached."""
    row = await connection.fetchrow(QUERIES["load_method"], method_id)
    return None if row is None else _saved(row)


async def lock_method(connection: Connection, method_id: str) -> Saved | None:
    """A method, locked until the transaction ends, even when it is not known yet."""
    await connection.execute(QUERIES["lock_method"], method_id)
    return await load_method(connection, method_id)


async def save_method(connection: Connection, saved: Saved) -> None:
    """Save what is known of a method that is locked; its label stays."""
    method = saved.method
    await connection.execute(
        QUERIES["save_method"],
        method.id,
        method.customer,
        method.type,
        method.brand,
        method.last4,
        method.exp_month,
        method.exp_year,
        method.bank_name,
        method.wallet,
        method.added_at,
        saved.detached,
        saved.asked,
        saved.answered,
    )


async def choose_method(connection: Connection, subject: str, method_id: str, *, livemode: bool) -> bool:
    """Make a method its owner's default; False when he has no such method."""
    return await connection.fetchval(QUERIES["choose_method"], subject, livemode, method_id) is not None


async def label_method(connection: Connection, subject: str, method_id: str, label: str, *, livemode: bool) -> bool:
    """Name a method as its owner wants it; False when he has no such method."""
    return await connection.fetchval(QUERIES["label_method"], subject, livemode, method_id, label) is not None


async def list_expiring(connection: Connection, months: Sequence[int], after: str, *, livemode: bool) -> list[Expiring]:
    """Cards that are good until the end of one of `months`, of which nothing was said; a hundred from `after` on."""
    return await fetch_as(connection, Expiring, QUERIES["list_expiring"], list(months), livemode, after)


async def mark_expiry_told(connection: Connection, method_id: str, month: int) -> bool:
    """Remember that the owner of a card is told of its end; False when he was told before."""
    return await connection.fetchval(QUERIES["mark_expiry_told"], method_id, month) is not None


async def keep_addition(
    connection: Connection,
    addition_id: UUID,
    stripe_request: Mapping[str, Any],  # Any: Stripe's parameters, nested
) -> Addition:
    """A wish with the request that was stored first, which is this one unless there was another."""
    await connection.execute(QUERIES["insert_addition"], addition_id, dict(stripe_request))
    found = await fetch_one_as(connection, Addition, QUERIES["load_addition"], addition_id)
    assert found is not None  # noqa: S101 - it is there, by us or by another
    return found


async def forget_additions(connection: Connection, *, older_than_days: int, at_most: int) -> int:
    """Delete wishes that old, and say how many were deleted."""
    return int((await connection.execute(QUERIES["forget_additions"], older_than_days, at_most)).rpartition(" ")[2])


def _saved(row: Any) -> Saved:  # Any: asyncpg.Record has untyped columns
    method = Method(**{name: row[name] for name in _OF_METHOD})
    return Saved(method, row["detached"], row["label"], row["asked"], row["answered"])
