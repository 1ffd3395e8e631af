"""A shop's past: orders that were bought, paid, sent and confirmed, put into the tables by SQL."""

from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from payments_shared.contracts.catalog import CATALOG, schema_name
from payments_shared.queries import parse_queries
from sandbox.truth import Rows

TOTAL_MINOR: Final = 5400
COMPLETED: Final = "stripe.checkout.session.completed"
PAID: Final = "order.paid.v1"
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


async def make_past(dsn: str, orders: int) -> None:
    """So many orders, with the messages that paid them, in every service's tables. `dsn` is the owner's."""
    owner = await asyncpg.connect(dsn)
    try:
        async with owner.transaction():
            await owner.execute("SET LOCAL synchronous_commit = off")
            await owner.execute(_QUERIES["old"], orders)
            for name in ("ingested", "bought", "stock", "kept", "sent", "settled", "mailed"):
                await owner.execute(_QUERIES[name])
            for name, ids in ((COMPLETED, "event_message"), (PAID, "paid_message")):
                for service in sorted(CATALOG[name].hearers):
                    heard = _QUERIES["heard"].replace(":schema", schema_name(service)).replace(":ids", ids)
                    await owner.execute(heard, service, name)
        await owner.execute("ANALYZE")
    finally:
        await owner.close()


async def truth_of_past(dsn: str) -> dict[str, Rows]:
    """What Stripe would hold of these orders, as rows of `stripe_truth`."""
    owner = await asyncpg.connect(dsn)
    try:
        found = await owner.fetch(_QUERIES["truth"])
    finally:
        await owner.close()
    rows: list[tuple[UUID, str, str, str]] = [tuple(row) for row in found]
    return {
        "sessions": [(s, o, "complete", "paid", i, TOTAL_MINOR, "usd") for o, s, i, _ in rows],
        "payment_intents": [(i, "succeeded", TOTAL_MINOR, "usd", o) for o, _, i, _ in rows],
        "events": [(e, "checkout.session.completed", s, True) for _, s, _, e in rows],
    }
