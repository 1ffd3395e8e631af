"""What is known of whoever refunds have to do with."""

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from payments_shared.postgres import Connection
from refunds.model.patterns import Buyer, Charge, Operator, Patterns, Rate
from refunds.store.refunds import QUERIES

_CHARGES: Final = TypeAdapter(tuple[Charge, ...])
_PRODUCTS: Final = TypeAdapter(dict[str, Rate])


async def keep_charge(connection: Connection, charge: Charge) -> None:
    """Keep how a payment was made, once."""
    await connection.execute(
        QUERIES["keep_charge"], charge.payment_intent, charge.method_type, charge.card, charge.charged_at
    )


async def forget_cards(connection: Connection, *, older_than_days: int, at_most: int) -> int:
    """Forget the cards of payments that old, and say of how many."""
    return int((await connection.execute(QUERIES["forget_cards"], older_than_days, at_most)).rpartition(" ")[2])


async def load_patterns(connection: Connection, order_id: UUID, requester: str) -> tuple[Patterns, tuple[Charge, ...]]:
    """What went before a request of `requester`, and how the order was paid; nothing is locked. Of an order that is not
    known it is empty."""
    row = await connection.fetchrow(QUERIES["patterns"], order_id, requester)
    assert row is not None  # noqa: S101 - a SELECT without FROM always returns a row
    patterns = Patterns(
        buyer=Buyer(
            Rate(row["buyer_refunded"], row["buyer_orders"]),
            row["buyer_day"],
            row["buyer_month"],
            row["buyer_quarter"],
            row["by_operator"],
        ),
        operator=Operator(row["operator_day"], row["operator_month"], row["peers"], row["peers_month"]),
        shop=Rate(row["shop_refunded"], row["shop_orders"]),
        products=_PRODUCTS.validate_python(row["products"]),
        card_buyers=row["card_buyers"],
        delivered_at=row["delivered_at"],
        early_fraud_warning=row["warned"],
    )
    return patterns, _CHARGES.validate_python(row["charges"])


async def last_tally(connection: Connection) -> datetime | None:
    """The beginning of the last day that was counted, in UTC; None: none was."""
    last: datetime | None = await connection.fetchval(QUERIES["last_tally"])
    return last


async def first_paid(connection: Connection, after: datetime) -> datetime | None:
    """The beginning of the day of the first order that was paid after a moment, in UTC."""
    first: datetime | None = await connection.fetchval(QUERIES["first_paid"], after)
    return first


async def tally(connection: Connection, since: datetime, until: datetime) -> None:
    """Count whole days in UTC, again or for the first time: from `since` on, before `until`."""
    await connection.execute(QUERIES["tally"], since, until)
