"""Since when each service hears each type, kept by provisioning in `payments.bindings`.

What was said before was not lost: neither a restore tells it to a new hearer, nor does the audit miss it there.
"""

from collections.abc import Sequence
from typing import Final

import asyncpg

from payments_shared.contracts.catalog import CATALOG
from payments_shared.sql import bindings_sql

_ASKED: Final = """
INSERT INTO payments.bindings (type, service)
SELECT type, service FROM unnest($1::text[], $2::text[]) AS heard (type, service)
ON CONFLICT DO NOTHING -- known since an earlier run
"""

_MADE: Final = "UPDATE payments.bindings SET made_at = clock_timestamp() WHERE made_at IS NULL"


def heard() -> list[tuple[str, str]]:
    """Each type of the catalogue with each service that hears it."""
    return [(entry.name, service) for entry in CATALOG.values() for service in sorted(entry.hearers)]


async def ask(owner: "asyncpg.Connection[asyncpg.Record]", wanted: Sequence[tuple[str, str]]) -> None:
    """Before queues are bound: make the table where there is none, and add what is new in it of `wanted`."""
    await owner.execute(bindings_sql())
    types, services = (list(column) for column in zip(*wanted, strict=True))
    await owner.execute(_ASKED, types, services)


async def made(owner_url: str) -> None:
    """After queues were bound: whatever was asked for is heard from now on."""
    owner = await asyncpg.connect(owner_url, timeout=10)
    try:
        await owner.execute(_MADE)
    finally:
        await owner.close()
