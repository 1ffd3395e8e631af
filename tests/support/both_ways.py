"""The same messages applied many to a transaction and one by one, on a real database: the rows must be the same."""

import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiormq.abc
import asyncpg
from aiormq import spec
from pamqp.header import ContentHeader

from payments_shared.contracts.catalog import schema_name
from payments_shared.contracts.message import Message
from payments_shared.ids import new_id
from payments_shared.messaging import Binding, Envelope, Outbox
from payments_shared.messaging.deciding import Decider
from payments_shared.messaging.delivery import Delivery, Incoming
from payments_shared.postgres import Pool, open_pool
from payments_shared.provision import Provisioned

NOON = datetime.now(UTC).replace(microsecond=0)
MADE_ANEW = frozenset(
    {
        "id",
        "message_id",
        "at",
        "created_at",
        "updated_at",
        "processed_at",
        "lease_until",
        "day",
        "seq",
        "until",
        "placed_at",
        "limited_at",
    }
)
"""Columns that differ from one time to the next although the same was done."""

Rows = dict[str, list[dict[str, Any]]]  # Any: columns of every kind


class NoChannel:
    """These deliveries came from no broker, and nobody acknowledges them."""

    is_closed = False


@dataclass(frozen=True, slots=True)
class BothWays:
    """One service's decisions over a database of its own."""

    service: str
    pool: Pool
    outbox: Outbox
    owner: "asyncpg.Connection[asyncpg.Record]"

    async def compare(
        self,
        begin: Callable[[], Awaitable[None]],
        bindings: Sequence[Binding],
        heard: Sequence[Incoming],
        chance: random.Random,
    ) -> float:
        """Apply `heard` both ways after `begin`, cut into batches by `chance`, and compare all rows.

        The answer is the share of messages that were applied in batches of several: a comparison without any says
        nothing.
        """
        decider = Decider(self.outbox, {binding.message_type: binding for binding in bindings})
        alone, _ = await self._rows_after(begin, decider, [[one] for one in heard])
        batches = _cut(heard, chance)
        together, in_batches = await self._rows_after(begin, decider, batches)
        for table, rows in alone.items():
            assert together[table] == rows, (table, [[one.envelope.type for one in batch] for batch in batches])
        return in_batches / len(heard)

    async def _rows_after(
        self, begin: Callable[[], Awaitable[None]], decider: Decider, batches: Sequence[Sequence[Incoming]]
    ) -> tuple[Rows, int]:
        tables = await self._tables()
        await self.owner.execute("TRUNCATE " + ", ".join(tables) + " RESTART IDENTITY CASCADE")
        await begin()
        in_batches = sum([await _apply(decider, batch) for batch in batches])
        return {table: await self._rows(table) for table in tables}, in_batches

    async def _tables(self) -> list[str]:
        sql = """
            SELECT format('%I.%I', n.nspname, c.relname) AS name
              FROM pg_class AS c
              JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
               AND c.relname <> 'schema_migrations'
             ORDER BY name
        """
        return [row["name"] for row in await self.owner.fetch(sql, schema_name(self.service))]

    async def _rows(self, table: str) -> list[dict[str, Any]]:
        rows = [dict(row) for row in await self.owner.fetch(f"SELECT * FROM {table}")]
        if table.endswith(".outbox"):
            return [_told(row) for row in sorted(rows, key=lambda row: row["seq"])]
        if table.endswith(".inbox"):
            return sorted(({"id": row["message_id"], "outcome": row["outcome"]} for row in rows), key=repr)
        numbered = all(isinstance(row.get("id"), int) for row in rows)
        rows.sort(key=lambda row: row["id"] if numbered else repr(_kept(row)))
        return [_kept(row) for row in rows]


async def _apply(decider: Decider, batch: Sequence[Incoming]) -> int:
    """As the consumer does: what fails as one is tried again one by one. How many were applied in a batch of several.

    A batch fails only for a message that fails alone as well.
    """
    if (error := await _failure(decider, batch)) is None:
        return len(batch) if len(batch) > 1 else 0
    if len(batch) > 1:
        failures = [await _failure(decider, [one]) for one in batch]
        assert any(failures), f"{error!r} in a batch, and for none of its messages alone"
    return 0


async def _failure(decider: Decider, batch: Sequence[Incoming]) -> Exception | None:
    try:
        await decider.apply(batch)
    except Exception as error:
        return error
    return None


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same: keys that are made from the input, and times only by whether there is one."""
    kept = {name: value for name, value in row.items() if name not in MADE_ANEW}
    times = ("paid_at", "held_until", "digital_delivered_at")
    return {name: value is not None if name in times else value for name, value in kept.items()}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    body = json.loads(row["body"])
    data = _timeless(body["data"])
    about = ("type", "subject", "partitionkey", "causationid", "correlationid", "sequence")
    delayed = row["available_at"] > row["created_at"] + timedelta(seconds=1)
    return {"data": data, "delayed": delayed} | {name: body.get(name) for name in about}


def _timeless(data: Mapping[str, Any]) -> dict[str, Any]:
    times = ("paid_at", "hold_until", "deadline", "recovery")
    return {name: value is not None if name in times else value for name, value in data.items()}


def _cut(heard: Sequence[Incoming], chance: random.Random) -> list[list[Incoming]]:
    batches: list[list[Incoming]] = []
    rest = list(heard)
    while rest:
        size = chance.choice((1, 2, 3, 5, 10))
        batches.append(rest[:size])
        rest = rest[size:]
    return batches


def incoming(message: Message, *, seconds: int = 0, message_id: UUID | None = None) -> Incoming:
    """`message` as it comes from its owner, said `seconds` after noon."""
    message_type = message.TYPE if "*" not in message.TYPE else f"stripe.{getattr(message, 'type')}"  # noqa: B009 - of Stripe's only
    envelope = Envelope(
        id=message_id or new_id(),
        source="payments/test",
        type=message_type,
        subject=message.subject(),
        time=NOON + timedelta(seconds=seconds),
        partitionkey=message.partition_key(),
        correlationid=message.correlation(),
    )
    raw = aiormq.abc.DeliveredMessage(
        delivery=spec.Basic.Deliver(),
        header=ContentHeader(properties=spec.Basic.Properties()),
        body=b"",
        channel=None,  # type: ignore[arg-type]
    )
    delivery = Delivery(raw, NoChannel())  # type: ignore[arg-type]
    return Incoming(delivery, envelope, json.loads(message.model_dump_json()))


def with_repeats(heard: Sequence[Incoming], chance: random.Random) -> list[Incoming]:
    """Some of `heard` come again later, under the same id."""
    again = list(heard)
    for one in heard:
        if chance.random() < 0.15:
            again.insert(chance.randrange(again.index(one) + 1, len(again) + 1), one)
    return again


@contextlib.asynccontextmanager
async def both_ways(made: Provisioned, service: str) -> AsyncIterator[BothWays]:
    """Decisions of `service` in a deployment where nothing else runs."""
    schema = schema_name(service)
    pool = await open_pool(made.database_urls[service], schema=schema, application_name=f"test-{service}")
    owner = await asyncpg.connect(made.owner_database_url)
    try:
        yield BothWays(service, pool, Outbox(pool, service=service), owner)
    finally:
        await owner.close()
        await pool.close()
