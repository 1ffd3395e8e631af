"""A person hands evidence in, and Stripe gets it: once, whatever happens between the two."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import structlog

from payments_shared import idempotency, metrics
from payments_shared.contracts import refunds as said
from payments_shared.errors import Poison, Refused
from payments_shared.failpoints import failpoint
from payments_shared.idempotency import Key, Replay
from payments_shared.ids import new_id
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused
from payments_shared.sweeper import Round
from refunds.decide import contesting
from refunds.gateway import Evidence
from refunds.handlers.exhibiting import Exhibiting
from refunds.handlers.requesting import Answer
from refunds.model.packs import Pack
from refunds.model.submissions import Submission, SubmissionState, Wanted
from refunds.store import disputes
from refunds.store import refunds as orders
from refunds.store import submissions as store

log = structlog.get_logger(__name__)

Print = Callable[[Pack], bytes]
Render = Callable[[Submission], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Contesting:
    """`printed` makes the PDF of a pack. `patience`: longer than a command ever waits between two attempts."""

    outbox: Outbox
    exhibiting: Exhibiting
    stripe: Evidence
    printed: Print
    patience: timedelta

    async def hand_in(self, wanted: Wanted, key: Key, render: Render) -> Answer:
        """Let evidence be handed in. What is wanted and its answer are kept together, before Stripe is asked.

        Raises:
            Refused: 404 `not_found`; 409 and 422 as `decide.contesting` says.
        """
        async with self.outbox.transaction() as tx:
            match await idempotency.claim(tx.connection, key):
                case Replay(status=status, body=body):
                    return Answer(status, body, replayed=True)
            made = await self._intend(tx, wanted)
            answer = json.dumps(render(made), separators=(",", ":")).encode()
            await idempotency.finish(tx.connection, key, status=202, body=answer)
        return Answer(202, answer)

    async def _intend(self, tx: Transaction, wanted: Wanted) -> Submission:
        dispute = await disputes.lock_dispute(tx.connection, wanted.dispute_id)
        if dispute is None:
            raise Refused("not_found", "There is no such dispute.", status=404)
        earlier = await store.list_of(tx.connection, dispute.id)
        contesting.check(dispute, earlier, await orders.business_now(tx.connection))
        pack = await self.exhibiting.pack_of(tx.connection, dispute)
        made = contesting.submission(new_id(), wanted, dispute, pack)
        made = replace(made, created_at=await store.insert(tx.connection, made))
        tx.announce(said.SubmitEvidence(dispute_id=dispute.id, submission_id=made.id))
        return made

    # -- Stripe ------------------------------------------------------------------------------------------------------

    async def submit(self, call: Call, message: said.SubmitEvidence) -> None:
        """Command: give Stripe the evidence."""
        one = await self._begin(message.submission_id)
        if one is None:
            return
        refusal = await self._ask(one)
        failpoint("after_evidence")
        async with call.conclude() as tx:
            await self._settle(tx, contesting.answered(one, refusal))

    async def _begin(self, submission_id: UUID) -> Submission | None:
        async with self.outbox.transaction() as tx:
            one = await store.lock(tx.connection, submission_id)
            if one is None:
                raise Poison("submission_unknown", "There is no such submission.")
            if one.state is not SubmissionState.INTENDED:
                return None
            await store.begin(tx.connection, one.id)
            return one

    async def _ask(self, one: Submission) -> str | None:
        """Stripe's answer: None when it has the evidence, else the code with which it refused.

        Raises:
            OutcomeUnknown: nobody knows; the command comes again.
        """
        async with acquire(self.outbox.pool) as connection:
            now = await orders.business_now(connection)
        if contesting.must_ask_first(one, now) and await self.stripe.has(one):
            return None
        try:
            one = await self._with_file(one)
            failpoint("before_evidence")
            await self.stripe.hand_in(one)
        except Refused as refusal:  # by our own printer
            return refusal.code
        except StripeRefused as refusal:
            # What was taken by a request whose answer was lost is refused to the next.
            return None if await self.stripe.has(one) else refusal.code
        except OutcomeUnknown as unknown:
            if not unknown.stored_under_key:
                raise
            if await self.stripe.has(one):
                return None
            async with acquire(self.outbox.pool) as connection:
                await store.bump_attempt(connection, one)
            raise
        return None

    async def _with_file(self, one: Submission) -> Submission:
        """The submission with Stripe's file of its pack, which is printed and sent where Stripe has none."""
        if one.file_id is not None:
            return one
        assert one.pack is not None  # noqa: S101 - it is forgotten only once Stripe has answered
        printed = await asyncio.to_thread(self.printed, one.pack)
        file_id = await self.stripe.upload(one, printed)
        failpoint("after_evidence_file")
        async with acquire(self.outbox.pool) as connection:
            await store.keep_file(connection, one.id, file_id)
        return replace(one, file_id=file_id)

    async def _settle(self, tx: Transaction, after: Submission) -> None:
        if not await store.settle(tx.connection, after):
            return
        metrics.EVIDENCE.labels(after.state.value).inc()
        if after.refusal is not None:
            log.error("evidence.refused", dispute_id=after.dispute_id, code=after.refusal)
        tx.announce(said.FetchDispute(dispute_id=after.dispute_id))

    # -- what stands still -------------------------------------------------------------------------------------------

    async def go_on(self) -> Round:
        """Sweep: say the command again of what Stripe never answered."""
        async with self.outbox.transaction() as tx:
            found = await store.lock_unsettled(tx.connection, self.patience)
            for submission_id, dispute_id in found:
                await store.mark_asked(tx.connection, submission_id)
                tx.announce(said.SubmitEvidence(dispute_id=dispute_id, submission_id=submission_id))
        metrics.SWEEPER_HEALED.labels("evidence").inc(len(found))
        return Round(healed=len(found))
