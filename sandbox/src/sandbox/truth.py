"""What Stripe's simulator and the mailbox really hold, loaded into `stripe_truth` for the audit."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import aiohttp
import asyncpg

from payments_shared.ids import parse_external_id

_EMPTY: Final = """
DELETE FROM stripe_truth.sessions; DELETE FROM stripe_truth.payment_intents; DELETE FROM stripe_truth.refunds;
DELETE FROM stripe_truth.events; DELETE FROM stripe_truth.mailbox;
"""


async def load_truth(*, database_url: str, stripe_url: str, mailbox_url: str) -> None:
    """Replace the contents of `stripe_truth`; `database_url` belongs to the sandbox's role."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        async with http.get(f"{stripe_url}/_sim/truth") as answer:
            truth = await answer.json()
        async with http.get(f"{mailbox_url}/api/messages") as answer:
            mails = (await answer.json())["messages"]
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(_EMPTY)
            await _fill(connection, truth, mails)
    finally:
        await connection.close()


async def _fill(connection: Any, truth: dict[str, Any], mails: Sequence[dict[str, Any]]) -> None:  # Any: JSON
    await connection.executemany(
        "INSERT INTO stripe_truth.sessions VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [
            (
                s["id"],
                _order(s["order_ref"]),
                s["status"],
                s["payment_status"],
                s["payment_intent"],
                s["amount_total"],
                s["currency"],
            )
            for s in truth["sessions"]
        ],
    )
    await connection.executemany(
        "INSERT INTO stripe_truth.payment_intents VALUES ($1, $2, $3, $4)",
        [(i["id"], i["status"], i["amount_received"], i["currency"]) for i in truth["payment_intents"]],
    )
    await connection.executemany(
        "INSERT INTO stripe_truth.refunds VALUES ($1, $2, $3, $4, $5, $6)",
        [
            (r["id"], r["payment_intent"], r["amount"], r["currency"], r["status"], r["refund_request_id"])
            for r in truth["refunds"]
        ],
    )
    await connection.executemany(
        "INSERT INTO stripe_truth.events VALUES ($1, $2, $3, $4)",
        [(e["id"], e["type"], e["object_id"], e["delivered"]) for e in truth["events"]],
    )
    await connection.executemany(
        "INSERT INTO stripe_truth.mailbox VALUES ($1, $2, $3, $4, $5, $6)",
        [(m["id"], m["message_id"], m["recipient"], _order(m["order_id"]), m["kind"], m["ref"]) for m in mails],
    )


def _order(text: str | None) -> UUID | None:
    try:
        return parse_external_id("ord", text) if text else None
    except ValueError:
        return None
