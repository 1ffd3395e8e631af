"""Use cases of operations: keep dead letters, send them back, tell the story of an order."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from operations import decide, store
from operations.gateway import Replays
from operations.model import Filter, Listed
from payments_shared import metrics
from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import CONSUMERS
from payments_shared.contracts.dead_letter import DeadLetterResolved
from payments_shared.contracts.message import Message
from payments_shared.contracts.stripe import StripeEvent, partition_key
from payments_shared.errors import Refused
from payments_shared.ids import derived_id, new_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.messaging.delivery import Delivery
from payments_shared.postgres import acquire

LEASE_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handlers:
    """One method per input."""

    outbox: Outbox
    replays: Replays

    async def keep(self, queue: str, delivery: Delivery) -> None:
        """Make a dead letter durable. Never fails on its content."""
        letter = decide.read(
            service=queue.removesuffix(".dlq"),
            message_id=delivery.message_id,
            declared_type=delivery.declared_type,
            correlation_id=delivery.raw.header.properties.correlation_id,
            headers=delivery.headers,
            body=delivery.body,
            now=utc_now(),
        )
        async with self.outbox.transaction() as tx:
            await store.keep(tx.connection, letter)
        log.error(
            "dead_letter.kept",
            dead=letter.service,
            type=letter.type,
            reason=letter.reason,
            letter_id=str(letter.id),
        )

    # -- facts -------------------------------------------------------------------------------------------------------

    async def remember(self, tx: Transaction, message: Message) -> None:
        """Keep a copy of any message for the timeline of its order."""
        assert tx.cause is not None  # noqa: S101 - a consumed message always has its envelope
        data: dict[str, Any] = message.model_dump(mode="json")  # Any: JSON
        order_ref = tx.cause.correlationid
        if isinstance(message, StripeEvent):
            found = partition_key(message.data.object)
            order_ref = order_ref or (found if found.startswith("ord_") else None)
            data = {"id": message.id, "type": message.type, "object_id": message.data.object.get("id")}
        _without_addresses(data)
        await store.append_timeline(tx.connection, tx.cause, order_ref, data)

    async def resolved(self, tx: Transaction, message: DeadLetterResolved) -> None:
        """A replay took effect, or proved a duplicate."""
        await self.remember(tx, message)
        letter_id = decide.dead_letter_id(str(message.message_id), message.service)
        if await store.resolve(tx.connection, letter_id):
            await store.audit(
                tx.connection,
                letter_id,
                "resolved",
                actor=f"service:{message.service}",
                reason=message.outcome,
                replay_id=message.replay_id,
            )

    # -- people ------------------------------------------------------------------------------------------------------

    async def summary(self, *, everything: bool) -> list[store.Row]:
        """Counts by service, type, reason and status."""
        async with acquire(self.outbox.pool) as connection:
            return await store.summary(connection, everything=everything)

    async def listed(self, wanted: Filter) -> list[Listed]:
        """Dead letters."""
        async with acquire(self.outbox.pool) as connection:
            return await store.listed(connection, wanted)

    async def shown(self, letter_id: UUID) -> store.Row:
        """One dead letter.

        Raises:
            Refused: 404.
        """
        async with acquire(self.outbox.pool) as connection:
            found = await store.shown(connection, letter_id)
        if found is None:
            raise Refused("not_found", "There is no such dead letter.", status=404)
        return found

    async def replay(self, letter_id: UUID, *, actor: str, reason: str) -> UUID | None:
        """Send one message back to its queue. None when it is not open: it is being replayed, or was resolved."""
        replay_id = new_id()
        async with self.outbox.transaction() as tx:
            letter = await store.claim_replay(tx.connection, letter_id, replay_id, LEASE_SECONDS)
            if letter is None:
                return None
            await store.audit(tx.connection, letter_id, "replay", actor=actor, reason=reason, replay_id=replay_id)
        try:
            await self.replays.send(
                message_id=_uuid(letter["message_id"]),
                type_=letter["type"],
                queue=letter["queue"],
                body=letter["body"],
                headers=decide.clean_headers(letter["headers"], replay_id=replay_id, dead_letter=letter_id),
                correlation_id=letter["correlation_id"],
            )
        except BaseException:
            async with self.outbox.transaction() as tx:
                await store.give_back(tx.connection, letter_id, replay_id)
            raise
        return replay_id

    async def timeline(self, order_ref: str) -> tuple[list[store.Row], list[store.Row]]:
        """What happened to an order: messages, and dead letters."""
        async with acquire(self.outbox.pool) as connection:
            return await store.timeline(connection, order_ref)

    async def measure(self) -> None:
        """Set the gauge of open dead letters, also where none are left."""
        async with acquire(self.outbox.pool) as connection:
            found = await store.count_open(connection)
        for service in CONSUMERS:
            metrics.DEAD_LETTERS_OPEN.labels(service).set(found.get(service, 0))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return derived_id("undecodable", text)


def _without_addresses(data: dict[str, Any]) -> None:
    for name in ("customer", "shipping_address"):
        data.pop(name, None)
