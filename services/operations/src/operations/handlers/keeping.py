"""What arrives: dead letters, and a copy of everything that is said."""

from dataclasses import dataclass
from uuid import UUID

import structlog

from operations.decide import reading, remembering, replaying
from operations.model.bulks import BulkState
from operations.model.letters import DeadLetter
from operations.model.replays import Outcome
from operations.store import bulks, letters, replays, timeline
from payments_shared import metrics
from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import CONSUMERS
from payments_shared.contracts.dead_letter import DeadLetterResolved
from payments_shared.contracts.message import Message
from payments_shared.messaging import Outbox, Transaction
from payments_shared.messaging.delivery import Delivery
from payments_shared.postgres import Connection, acquire
from payments_shared.sweeper import Round

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """One method per input."""

    outbox: Outbox

    async def keep(self, queue: str, delivery: Delivery) -> None:
        """Make a dead letter durable. Never fails on its content."""
        letter = reading.read(
            service=queue.removesuffix(".dlq"),
            message_id=delivery.message_id,
            declared_type=delivery.declared_type,
            correlation_id=delivery.raw.header.properties.correlation_id,
            headers=delivery.headers,
            body=delivery.body,
            now=utc_now(),
        )
        async with self.outbox.transaction() as tx:
            known = await _sent_by_us(tx.connection, letter)
            if known is None and await letters.insert(tx.connection, letter):
                await letters.insert_attempt(tx.connection, letter.id, letter, None)
            else:
                await _failed_again(tx.connection, known or letter.id, letter)
        log.error(
            "dead_letter.kept",
            dead=letter.service,
            type=letter.type,
            reason=letter.reason,
            letter_id=str(known or letter.id),
            message_id=letter.message_id,
            order_id=letter.correlation_id,
        )

    async def remember(self, tx: Transaction, message: Message) -> None:
        """Keep a copy of any message for the timeline of its order."""
        assert tx.cause is not None  # noqa: S101 - a consumed message always has its envelope
        order_ref = remembering.order_of(message, tx.cause.correlationid)
        await timeline.append(tx.connection, tx.cause, order_ref, remembering.content(message))

    async def resolved(self, tx: Transaction, message: DeadLetterResolved) -> None:
        """A replay took effect, proved a duplicate, or was refused: its service is done with the message. One that
        operations never made (drained by hand, while the database was away) is known by its message."""
        await self.remember(tx, message)
        connection = tx.connection
        letter_id = await replays.letter_of(connection, message.replay_id, message.service)
        letter_id = letter_id or reading.dead_letter_id(str(message.message_id), message.service)
        if await letters.lock(connection, letter_id) is None:
            return
        told = Outcome(message.outcome)
        answer = replaying.answer(told, await letters.last_answer(connection, letter_id))
        bulk_id = await replays.settle(connection, message.replay_id, told)
        for one in ([bulk_id] if bulk_id else []) + await replays.settle_others(connection, letter_id):
            await bulks.move_items(connection, one, [letter_id], replaying.item_state(answer))
        if await letters.resolve(connection, letter_id):
            await letters.audit(
                connection,
                letter_id,
                "resolved",
                actor=f"service:{message.service}",
                reason=answer.value,
                replay_id=message.replay_id,
                bulk_id=bulk_id,
            )

    async def measure(self) -> Round:
        """Sweep: set the gauges of open dead letters and of paused bulks, also where none are left."""
        async with acquire(self.outbox.pool) as connection:
            found = await letters.count_open(connection)
            metrics.BULK_PAUSED_OLDEST_SECONDS.set(await bulks.oldest_pause_seconds(connection))
        for service in CONSUMERS:
            metrics.DEAD_LETTERS_OPEN.labels(service).set(found.get(service, 0))
        return Round()


async def _sent_by_us(connection: Connection, letter: DeadLetter) -> UUID | None:
    """The dead letter whose replay this is. It may bear another id: an original without a proper one went back under
    one that was made for it."""
    if letter.replay_id is None:
        return None
    return await replays.letter_of(connection, letter.replay_id, letter.service)


async def _failed_again(connection: Connection, letter_id: UUID, failed: DeadLetter) -> None:
    known = await letters.lock(connection, letter_id)
    assert known is not None  # noqa: S101 - dead letters are never deleted
    other_body = None if known.body == failed.body else failed.body
    if not await letters.insert_attempt(connection, letter_id, failed, other_body):
        return  # the broker delivered one failure twice
    await letters.reopen(connection, letter_id, replaying.after_failure(known, failed), failed)
    if failed.replay_id is None:
        return
    bulk_id = await replays.settle(connection, failed.replay_id, Outcome.FAILED, failed.fingerprint)
    if bulk_id is not None:
        await bulks.move_items(connection, bulk_id, [letter_id], "failed")
        await _judge(connection, bulk_id)


async def _judge(connection: Connection, bulk_id: UUID) -> None:
    """Pause a bulk of which too many fail again in one way: its cause is not mended."""
    latest = await replays.latest_told(connection, bulk_id, replaying.JUDGED_LAST)
    fingerprint = replaying.fails_again(latest)
    if fingerprint is None:
        return
    why = f"more than {replaying.FAILED_AGAIN_MAX} of the last {replaying.JUDGED_LAST} failed again as {fingerprint}"
    if await bulks.change(connection, bulk_id, BulkState.PAUSED, why, of=[BulkState.RUNNING]):
        await letters.audit(connection, None, "pause", actor="service:operations", reason=why, bulk_id=bulk_id)
        log.warning("bulk.paused", bulk_id=str(bulk_id), fingerprint=fingerprint)
