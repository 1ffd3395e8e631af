"""The worker: goes on with what operators asked for. Everything it knows is in rows, so another start goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from operations.decide import replaying
from operations.gateway.replays import Replays
from operations.handlers.acting import free_for
from operations.model.bulks import BulkState, Running
from operations.model.replays import Outcome, Replay
from operations.store import bulks, letters, replays
from payments_shared.failpoints import failpoint
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox
from payments_shared.messaging.connection import wait_first
from payments_shared.messaging.publisher import Outcome as Published
from payments_shared.postgres import Connection, acquire, is_unavailable

BUSY_SECONDS: Final = 0.1
IDLE_SECONDS: Final = 1.0
TROUBLE_SECONDS: Final = 5.0
AGAIN_AFTER_SECONDS: Final = 10.0  # as long as a confirm may take
OVERDUE_MAX: Final = 200
OURSELVES: Final = "service:operations"

PutAside = Callable[[Connection, Running, Sequence[UUID]], Awaitable[list[UUID]]]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Worker:
    """Several instances may work at once: rows are locked, and each batch belongs to one of them."""

    outbox: Outbox
    gateway: Replays
    wake: asyncio.Event
    lease_seconds: float
    trouble: str | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, through every outage of database and broker."""
        while not stopping.is_set():
            self.wake.clear()
            pause = await self._careful_round()
            if pause < TROUBLE_SECONDS:
                await wait_first(stopping, self.wake, timeout_seconds=pause)
            else:
                await wait_first(stopping, timeout_seconds=pause)

    async def _careful_round(self) -> float:
        """One round; the seconds to the next."""
        try:
            unfinished = await self.round()
        except Exception as error:
            if is_unavailable(error):
                log.warning("bulks.database_unavailable", error=type(error).__name__)
                return IDLE_SECONDS
            # Dead letters must be kept whatever is wrong with the way back: readiness tells of it.
            self.trouble = f"the last round failed: {type(error).__name__}"
            log.exception("bulks.round_failed")
            return TROUBLE_SECONDS
        self.trouble = None
        return BUSY_SECONDS if unfinished else IDLE_SECONDS

    async def check(self) -> str | None:
        """For readiness."""
        return self.trouble

    async def round(self) -> bool:
        """Go one step further everywhere; whether there is more to do soon. Nothing is written while nothing is due."""
        async with acquire(self.outbox.pool) as connection:
            overdue = await replays.any_overdue(connection, lease_seconds=self.lease_seconds)
            running = await bulks.running(connection)
        if overdue:
            await self._open_overdue()
        for bulk in running:
            match bulk.act:
                case "discard":
                    await self._put_aside(bulk, _discard, "discarded")
                case "archive":
                    await self._put_aside(bulk, _archive, "archived")
                case "replay" if self.gateway.ready:
                    await self._claim_batches(bulk)
        unsent = await self._send_batch()
        if running:
            async with self.outbox.transaction() as tx:
                for bulk_id in await bulks.finish(tx.connection):
                    log.info("bulk.done", bulk_id=str(bulk_id))
        return unsent or bool(running)

    # -- bulks ---------------------------------------------------------------------------------------------------------

    async def _claim_batches(self, bulk: Running) -> None:
        async with acquire(self.outbox.pool) as connection:
            services = await bulks.waiting_services(connection, bulk.id)
        for service in services:
            async with self.outbox.transaction() as tx:
                if await bulks.lock_running(tx.connection, bulk.id):
                    await self._claim_batch(tx.connection, bulk, service)

    async def _claim_batch(self, connection: Connection, bulk: Running, service: str) -> None:
        room = replaying.ON_THE_WAY_MAX - await bulks.on_the_way(connection, bulk.id, service)
        items = await bulks.next_items(connection, bulk.id, service, max(0, room))
        given_until, now = await bulks.lock_pace(connection, service)
        share = replaying.share(given_until, now=now, rate=bulk.rate, at_most=len(items))
        if share.messages == 0:
            return
        await bulks.set_pace(connection, service, share.given_until)
        wanted = [(letter_id, new_id()) for letter_id in items[: share.messages]]
        claimed = await replays.claim(
            connection,
            wanted,
            statuses=free_for("replay", by_ids=bulk.by_ids),
            cutoff=bulk.cutoff,
            lease_seconds=self.lease_seconds,
        )
        await replays.insert(connection, claimed, bulk_id=bulk.id)
        await letters.audit_many(
            connection,
            [(one.id, one.replay_id) for one in claimed],
            "replay",
            actor=bulk.actor,
            reason=bulk.reason,
            bulk_id=bulk.id,
        )
        taken = {one.id for one in claimed}
        await bulks.move_items(connection, bulk.id, list(taken), "on_the_way")
        await bulks.skip_items(connection, bulk.id, [letter for letter, _ in wanted if letter not in taken])

    async def _put_aside(self, bulk: Running, act: PutAside, state: str) -> None:
        """A batch for each service of what nobody has to be asked for."""
        async with acquire(self.outbox.pool) as connection:
            services = await bulks.waiting_services(connection, bulk.id)
        for service in services:
            async with self.outbox.transaction() as tx:
                if not await bulks.lock_running(tx.connection, bulk.id):
                    return
                items = await bulks.next_items(tx.connection, bulk.id, service, replaying.BATCH_MAX)
                done = await act(tx.connection, bulk, items)
                await letters.audit_many(
                    tx.connection,
                    [(letter, None) for letter in done],
                    bulk.act,
                    actor=bulk.actor,
                    reason=bulk.reason,
                    bulk_id=bulk.id,
                    detail={"force": bulk.force} if bulk.act == "discard" else None,
                )
                await bulks.move_items(tx.connection, bulk.id, done, state)
                await bulks.skip_items(tx.connection, bulk.id, [one for one in items if one not in done])

    # -- replays -------------------------------------------------------------------------------------------------------

    async def _send_batch(self) -> bool:
        """Publish what was claimed and never left, or left without the broker's word, as after a crash in between.
        Whether anything still waits for that word. What is marked as tried may have left; what is not, never did."""
        async with acquire(self.outbox.pool) as connection:
            unsent = await replays.any_unsent(connection)
        if not unsent or not self.gateway.ready:
            return unsent
        async with self.outbox.transaction() as tx:
            sending = await bulks.lock_sending(tx.connection)
            found = await replays.to_send(
                tx.connection, sending, again_after_seconds=AGAIN_AFTER_SECONDS, limit=replaying.BATCH_MAX
            )
            batch = _distinct(found)
            await replays.mark_tried(tx.connection, [replay.id for replay in batch])
        if batch:
            await self._publish(batch)
        return True

    async def _publish(self, batch: Sequence[Replay]) -> None:
        failpoint("replay_before_publish")
        outcomes = await self.gateway.send(batch)
        failpoint("replay_after_publish_before_mark")
        sent = [one.id for one, what in zip(batch, outcomes, strict=True) if what is Published.CONFIRMED]
        async with self.outbox.transaction() as tx:
            await replays.mark_sent(tx.connection, sent)
            for replay, outcome in zip(batch, outcomes, strict=True):
                if outcome in (None, Published.UNROUTABLE):
                    why = f"queue {replay.queue} is missing" if outcome else "the message cannot be written"
                    await _give_back(tx.connection, replay, why)

    async def _open_overdue(self) -> None:
        """Nobody told of them in time: open again. When somebody tells later, it still counts."""
        async with self.outbox.transaction() as tx:
            for letter_id, replay_id in await replays.overdue(
                tx.connection, lease_seconds=self.lease_seconds, limit=OVERDUE_MAX
            ):
                await replays.open_again(tx.connection, letter_id, replay_id)
                bulk_id = await replays.settle(tx.connection, replay_id, Outcome.UNKNOWN)
                if bulk_id is not None:
                    await bulks.move_items(tx.connection, bulk_id, [letter_id], "unknown")
                why = "nobody told how it ended"
                await _note(tx.connection, letter_id, "overdue", why, replay_id=replay_id, bulk_id=bulk_id)


async def _discard(connection: Connection, bulk: Running, items: Sequence[UUID]) -> list[UUID]:
    return await bulks.discard(connection, items, bulk.cutoff, force=bulk.force)


async def _archive(connection: Connection, bulk: Running, items: Sequence[UUID]) -> list[UUID]:
    return await bulks.archive(connection, items, bulk.cutoff)


async def _give_back(connection: Connection, replay: Replay, why: str) -> None:
    """The replay never left. Its bulk pauses: the rest would fare no better."""
    if not await replays.open_again(connection, replay.dead_letter_id, replay.id):
        return
    await replays.settle(connection, replay.id, Outcome.UNSENT)
    await _note(connection, replay.dead_letter_id, "not_sent", why, replay_id=replay.id, bulk_id=replay.bulk_id)
    if replay.bulk_id is None:
        return
    await bulks.move_items(connection, replay.bulk_id, [replay.dead_letter_id], "failed")
    if await bulks.change(connection, replay.bulk_id, BulkState.PAUSED, why, of=[BulkState.RUNNING]):
        await letters.audit(connection, None, "pause", actor=OURSELVES, reason=why, bulk_id=replay.bulk_id)


async def _note(
    connection: Connection, letter_id: UUID, action: str, why: str, *, replay_id: UUID, bulk_id: UUID | None
) -> None:
    await letters.audit(
        connection, letter_id, action, actor=OURSELVES, reason=why, replay_id=replay_id, bulk_id=bulk_id
    )


def _distinct(found: Sequence[Replay]) -> list[Replay]:
    """One for each message id: two services may have failed on one message, and the broker's returns are told apart by
    the id alone. The others go with the next batch."""
    return list({replaying.wire_id(replay.message_id): replay for replay in reversed(found)}.values())[::-1]
