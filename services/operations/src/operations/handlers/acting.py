"""What operators do: each act is written down, with who and why, in the transaction that makes it true."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from operations.decide import replaying
from operations.handlers.editing import checked
from operations.model.bulks import Act, BulkState, Instruction
from operations.model.letters import Filter, Status
from operations.store import Row, bulks, letters, replays
from payments_shared.errors import Refused
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import Connection, acquire
from payments_shared.redaction import redacted


@dataclass(frozen=True, slots=True)
class Edit:
    """A copy to be sent in place of its original; `body` is the whole message. `force`: although the original's last
    replay may still take effect."""

    body: Row
    force: bool
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Acting:
    """One method per act. What has to be sent is sent by the worker, which `wake` calls."""

    outbox: Outbox
    wake: asyncio.Event
    lease_seconds: float

    async def preview(self, asked: Instruction) -> Row:
        """What an act would take at this moment.

        Raises:
            Refused: 409 `outcome_unknown`, as `start`.
        """
        async with acquire(self.outbox.pool) as connection:
            taken = await _wanted(connection, asked)
        return {"matching": taken[0].matching if taken else 0, "taken": len(taken), "ids": [one.id for one in taken]}

    async def start(self, asked: Instruction) -> UUID:
        """Start a bulk over what matches now; what fails later is not swept in.

        Raises:
            Refused: 409 `nothing_matches`; 409 `outcome_unknown` for a discard of what may still take effect.
        """
        bulk_id = new_id()
        async with self.outbox.transaction() as tx:
            taken = await _wanted(tx.connection, asked)
            if not taken:
                stands = "settled" if asked.act == "archive" else "open"
                raise Refused("nothing_matches", f"No {stands} dead letter matches.")
            await bulks.insert(tx.connection, bulk_id, asked, taken)
            await letters.audit(
                tx.connection,
                None,
                f"bulk_{asked.act}",
                actor=asked.actor,
                reason=asked.reason,
                bulk_id=bulk_id,
                detail={
                    "filter": bulks.as_json(asked.wanted),
                    "taken": len(taken),
                    "matching": taken[0].matching,
                    "force": asked.force,
                },
            )
        self.wake.set()
        return bulk_id

    async def pause(self, bulk_id: UUID, *, actor: str, reason: str) -> None:
        """Send nothing more of a bulk for now, also of what is claimed. What is on the way comes to its end.

        Raises:
            Refused: 409 when it does not run.
        """
        async with self.outbox.transaction() as tx:
            await _change(tx, bulk_id, BulkState.PAUSED, reason, of=[BulkState.RUNNING])
            await letters.audit(tx.connection, None, "pause", actor=actor, reason=reason, bulk_id=bulk_id)

    async def resume(self, bulk_id: UUID, *, actor: str, reason: str) -> None:
        """Go on with a paused bulk; earlier failures do not count against it any more.

        Raises:
            Refused: 409 when it is not paused.
        """
        async with self.outbox.transaction() as tx:
            await _change(tx, bulk_id, BulkState.RUNNING, None, of=[BulkState.PAUSED])
            await letters.audit(tx.connection, None, "resume", actor=actor, reason=reason, bulk_id=bulk_id)
        self.wake.set()

    async def cancel(self, bulk_id: UUID, *, actor: str, reason: str) -> None:
        """End a bulk. What waits stays open, what is claimed and not tried is open again; what is on the way comes to
        its end.

        Raises:
            Refused: 409 when it has ended.
        """
        async with self.outbox.transaction() as tx:
            await _change(tx, bulk_id, BulkState.CANCELED, reason, of=[BulkState.RUNNING, BulkState.PAUSED])
            await bulks.cancel_items(tx.connection, bulk_id)
            taken_back = await replays.take_back_untried(tx.connection, bulk_id)
            await bulks.move_items(tx.connection, bulk_id, [letter for letter, _ in taken_back], "canceled")
            await letters.audit_many(tx.connection, taken_back, "cancel", actor=actor, reason=reason, bulk_id=bulk_id)
            await letters.audit(tx.connection, None, "cancel", actor=actor, reason=reason, bulk_id=bulk_id)

    async def replay(self, letter_id: UUID, *, actor: str, reason: str) -> UUID:
        """Send one message back to its queue, and return the replay's id.

        Raises:
            Refused: 404; 409 `not_open` while it is being replayed, or was resolved.
        """
        async with self.outbox.transaction() as tx:
            replay_id = await self._claim(tx, letter_id, free_for("replay", by_ids=True), body=None)
            await letters.audit(tx.connection, letter_id, "replay", actor=actor, reason=reason, replay_id=replay_id)
        self.wake.set()
        return replay_id

    async def preview_edit(self, letter_id: UUID, edit: Edit) -> list[Row]:
        """The changes that an edit would make.

        Raises:
            Refused: as `edit`.
        """
        async with acquire(self.outbox.pool) as connection:
            letter = await letters.shown(connection, letter_id)
            if not edit.force:
                replaying.refuse_unknown(await replays.unknown_outcomes(connection, [letter_id]))
        if letter is None:
            raise Refused("not_found", "There is no such dead letter.", status=404)
        return checked(letter, edit.body).changes

    async def edit(self, letter_id: UUID, edit: Edit) -> tuple[UUID, list[Row]]:
        """Send a changed copy in place of the original, under its id. Its success resolves the original; its failure
        opens it again, unchanged.

        Raises:
            Refused: 404; 409 `not_open`; 409 `outcome_unknown` while the last replay may still take effect; 422 when a
                locked field changed or the copy breaks its contract.
        """
        async with self.outbox.transaction() as tx:
            letter = await letters.shown(tx.connection, letter_id)
            if letter is None:
                raise Refused("not_found", "There is no such dead letter.", status=404)
            copy = checked(letter, edit.body)
            replay_id = await self._claim(tx, letter_id, [Status.OPEN], body=copy.body)
            if not edit.force:  # whoever could tell waits for the claim
                replaying.refuse_unknown(await replays.unknown_outcomes(tx.connection, [letter_id]))
            await letters.audit(
                tx.connection,
                letter_id,
                "edit",
                actor=edit.actor,
                reason=edit.reason,
                replay_id=replay_id,
                detail={"changes": copy.changes, "force": edit.force},
            )
        self.wake.set()
        return replay_id, copy.changes

    async def archive(self, ids: Sequence[UUID], *, actor: str, reason: str) -> int:
        """Put dead letters out of sight that are settled; how many.

        Raises:
            Refused: 409 `not_settled`: none of them is, or all are in the archive.
        """
        async with self.outbox.transaction() as tx:
            moved = await letters.archive(tx.connection, ids)
            if not moved:
                raise Refused("not_settled", "Only what is resolved or discarded goes to the archive.")
            await _audit_moved(tx, moved, "archive", actor=actor, reason=reason)
        return len(moved)

    async def unarchive(self, ids: Sequence[UUID], *, actor: str, reason: str) -> int:
        """Take dead letters out of the archive; how many.

        Raises:
            Refused: 409 `not_archived`: none of them is in it.
        """
        async with self.outbox.transaction() as tx:
            moved = await letters.unarchive(tx.connection, ids)
            if not moved:
                raise Refused("not_archived", "It is not in the archive.")
            await _audit_moved(tx, moved, "unarchive", actor=actor, reason=reason)
        return len(moved)

    async def export(
        self, wanted: Filter, *, after: UUID | None, limit: int, actor: str, reason: str
    ) -> tuple[list[Row], UUID | None]:
        """One page of whole dead letters, without what is secret, and where the next begins. Bodies hold what people
        entrusted to us: who took them out is written down as well."""
        async with self.outbox.transaction() as tx:
            page = await letters.exported(tx.connection, wanted, after, limit)
            detail = {"filter": bulks.as_json(wanted), "messages": len(page)}
            await letters.audit(tx.connection, None, "export", actor=actor, reason=reason, detail=detail)
        return [dict(redacted(row)) for row in page], page[-1]["id"] if len(page) == limit else None

    async def _claim(self, tx: Transaction, letter_id: UUID, free: Sequence[str], *, body: bytes | None) -> UUID:
        replay_id = new_id()
        if await letters.lock(tx.connection, letter_id) is None:
            raise Refused("not_found", "There is no such dead letter.", status=404)
        claimed = await replays.claim(
            tx.connection,
            [(letter_id, replay_id)],
            statuses=free,
            cutoff=None,
            lease_seconds=self.lease_seconds,
        )
        if not claimed:
            raise Refused("not_open", "The dead letter is being replayed, or is settled.")
        await replays.insert(tx.connection, claimed, bulk_id=None, body=body)
        return replay_id


async def _audit_moved(tx: Transaction, moved: Sequence[UUID], action: str, *, actor: str, reason: str) -> None:
    letters_moved = [(one, None) for one in sorted(moved)]
    await letters.audit_many(tx.connection, letters_moved, action, actor=actor, reason=reason, bulk_id=None)


def free_for(act: Act, *, by_ids: bool) -> list[str]:
    """The statuses that an act takes. What was discarded goes back only when somebody names it."""
    return [Status.OPEN, Status.DISCARDED] if act == "replay" and by_ids else [Status.OPEN]


async def _wanted(connection: Connection, asked: Instruction) -> list[bulks.Wanted]:
    if asked.act == "archive":
        return await bulks.settled(connection, asked.wanted, asked.limit)
    discards = asked.act == "discard"
    free = free_for(asked.act, by_ids=asked.wanted.ids is not None)
    taken = await bulks.wanted(connection, asked.wanted, free, asked.limit, doubtful=discards)
    if discards and not asked.force:
        replaying.refuse_unknown(await replays.unknown_outcomes(connection, [one.id for one in taken]))
    return taken


async def _change(
    tx: Transaction, bulk_id: UUID, to: BulkState, reason: str | None, *, of: Sequence[BulkState]
) -> None:
    if await bulks.change(tx.connection, bulk_id, to, reason, of=of):
        return
    if await bulks.shown(tx.connection, bulk_id) is None:
        raise Refused("not_found", "There is no such bulk.", status=404)
    raise Refused("wrong_state", f"The bulk is not {' or '.join(of)}.")
