"""What currencies were worth."""

from collections.abc import Collection

from checkout.model.carts import Rates
from payments_shared.postgres import Connection
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def latest_rates(connection: Connection, currencies: Collection[str]) -> Rates | None:
    """The newest rates of these currencies; None when none are known."""
    rows = await connection.fetch(QUERIES["latest_rates"], list(currencies))
    if not rows:
        return None
    return Rates(rows[0]["day"], rows[0]["source"], {row["currency"]: row["per_euro"] for row in rows})


async def insert_rates(connection: Connection, rates: Rates) -> None:
    """Keep what was published for a day, unless it is known."""
    currencies = sorted(rates.per_euro)
    await connection.execute(
        QUERIES["insert_rates"], rates.day, rates.source, currencies, [rates.per_euro[c] for c in currencies]
    )
