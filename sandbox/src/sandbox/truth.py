"""What Stripe's simulator and the mailbox really hold, loaded into `stripe_truth` for the audit."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import aiohttp
import asyncpg

from payments_shared.ids import parse_external_id

_TABLES: Final = ("sessions", "payment_intents", "refunds", "disputes", "events", "mailbox")

Rows = list[tuple[Any, ...]]  # Any: column values


async def load_truth(*, database_url: str, stripe_url: str, mailbox_url: str) -> None:
    """Replace the contents of `stripe_truth`; `database_url` belongs to the sandbox's role."""
    await store_truth(await fetch_truth(stripe_url=stripe_url, mailbox_url=mailbox_url), database_url=database_url)


async def fetch_truth(*, stripe_url: str, mailbox_url: str) -> dict[str, Rows]:
    """Rows of the tables of `stripe_truth`, by the tables' names."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        async with http.get(f"{stripe_url}/_sim/truth") as answer:
            truth = await answer.json()
        async with http.get(f"{mailbox_url}/api/messages") as answer:
            mails = (await answer.json())["messages"]
    return _rows(truth, mails)


async def store_truth(rows: Mapping[str, Rows], *, database_url: str) -> None:
    """Replace the contents of `stripe_truth` by `rows`; a table that is not named is empty then."""
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        async with connection.transaction():
            for table in _TABLES:
                await connection.execute(f"DELETE FROM stripe_truth.{table}")  # noqa: S608 - names of our own
                await connection.copy_records_to_table(table, schema_name="stripe_truth", records=rows.get(table, []))
    finally:
        await connection.close()


def _rows(truth: dict[str, Any], mails: Sequence[dict[str, Any]]) -> dict[str, Rows]:  # Any: JSON
    return {
        "sessions": [
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
        "payment_intents": [
            (i["id"], i["status"], i["amount_received"], i["currency"], _order(i["order_ref"]))
            for i in truth["payment_intents"]
        ],
        "refunds": [
            (r["id"], r["payment_intent"], r["amount"], r["currency"], r["status"], r["refund_request_id"])
            for r in truth["refunds"]
        ],
        "disputes": [
            (d["id"], d["charge"], d["payment_intent"], d["amount"], d["currency"], d["status"])
            for d in truth["disputes"]
        ],
        "events": [(e["id"], e["type"], e["object_id"], e["delivered"]) for e in truth["events"]],
        "mailbox": [
            (m["id"], m["message_id"], m["recipient"], _order(m["order_id"]), m["kind"], m["ref"]) for m in mails
        ],
    }


def _order(text: str | None) -> UUID | None:
    try:
        return parse_external_id("ord", text) if text else None
    except ValueError:
        return None
