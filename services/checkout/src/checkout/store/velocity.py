"""Attempts with cards, and who is held back for them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from checkout.model.velocity import Block, Exceeded, Limits, Marked, Tally
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def insert_attempts(connection: Connection, attempts: Sequence[tuple[Marked, datetime]]) -> set[str]:
    """Keep attempts; the charges of those that were not known before."""
    rows = await connection.fetch(
        QUERIES["insert_attempts"],
        [one.charge for one, _ in attempts],
        [one.order_id for one, _ in attempts],
        [one.declined for one, _ in attempts],
        [one.card for one, _ in attempts],
        [one.email for one, _ in attempts],
        [one.subject for one, _ in attempts],
        [at for _, at in attempts],
    )
    return {row["charge"] for row in rows}


async def tally_attempts(connection: Connection, charges: Sequence[str], limits: Limits) -> list[Tally]:
    """What was tried before and with each of these charges that was declined, in the windows of the limits; of the
    charges, those come before it that stand before it."""
    windows = (
        limits.declines_per_address,
        limits.cards_per_address,
        limits.declines_per_buyer,
        limits.cards_per_buyer,
        limits.declines_per_card,
    )
    seconds = [limit.seconds if limit is not None else 0 for limit in windows]
    return await fetch_as(connection, Tally, QUERIES["tally_attempts"], list(charges), *seconds)


async def block(connection: Connection, found: Sequence[tuple[UUID | None, Exceeded]]) -> None:
    """Take nothing more from those who exceeded limits, while the windows last; each with the order at which he did.
    None: he did where cards are saved."""
    marks = [(mark, one.limit.seconds, order_id, one.limit.name) for order_id, one in found for mark in one.marks]
    await connection.execute(QUERIES["block_marks"], *(list(column) for column in zip(*marks, strict=True)))


async def find_blocks(connection: Connection, marks: Sequence[str]) -> list[Block]:
    """The blocks of these that last."""
    return await fetch_as(connection, Block, QUERIES["find_blocks"], list(marks))


async def lock_openings(connection: Connection, name: str) -> None:
    """Whoever else of this name opens an order waits until the transaction ends."""
    await connection.execute(QUERIES["lock_openings"], name)


async def open_of_customer(connection: Connection, customer: str) -> int:
    """How many orders of a signed-in customer may still be paid."""
    found: int = await connection.fetchval(QUERIES["count_open_of_customer"], customer)
    return found


async def open_at_address(connection: Connection, address: str, email: str) -> tuple[int, int]:
    """How many orders that were placed by guests at an address may still be paid: with this e-mail address, and all."""
    row = await connection.fetchrow(QUERIES["count_open_at_address"], address, email.lower())
    assert row is not None  # noqa: S101 - an aggregate has a row
    return row["of_buyer"], row["of_address"]


async def has_paid(connection: Connection, customer: str) -> bool:
    """Whether a signed-in customer has a paid order."""
    found: bool = await connection.fetchval(QUERIES["has_paid"], customer)
    return found


async def standing_of_customer(connection: Connection, mark: str, customer: str, seconds: float) -> tuple[int, bool]:
    """How many cards of a signed-in customer were declined in the last `seconds`, and whether he has ordered before."""
    return _standing(await connection.fetchrow(QUERIES["standing_of_customer"], mark, customer, seconds))


async def standing_of_guest(
    connection: Connection, mark: str, address: str | None, email: str, seconds: float
) -> tuple[int, bool]:
    """As above, of a guest at an address; None: it is not known, and nothing speaks for him."""
    return _standing(await connection.fetchrow(QUERIES["standing_of_guest"], mark, address, email.lower(), seconds))


def _standing(row: Any) -> tuple[int, bool]:  # Any: asyncpg.Record has untyped columns
    return row["declines"], row["has_ordered"]


async def insert_origin(connection: Connection, order_id: UUID, address: str) -> None:
    """Keep from where an order was placed."""
    await connection.execute(QUERIES["insert_origin"], order_id, address)


async def forget(connection: Connection, after_seconds: float) -> None:
    """Delete attempts and origins that are older than any window, and blocks that are over; ten thousand of each at
    most."""
    await connection.execute(QUERIES["forget_attempts"], after_seconds)
    await connection.execute(QUERIES["forget_origins"], after_seconds)
    await connection.execute(QUERIES["forget_blocks"])
