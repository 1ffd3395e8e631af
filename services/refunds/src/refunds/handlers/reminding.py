"""What is looked for again and again about disputes: deadlines that come near, and answers that nobody told of."""

import math
from dataclasses import dataclass
from datetime import timedelta

from payments_shared import metrics
from payments_shared.contracts import refunds as said
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire
from payments_shared.sweeper import Round
from refunds.decide import disputing, saying
from refunds.store import disputes
from refunds.store import refunds as store


@dataclass(frozen=True, slots=True)
class Reminding:
    """`check_after`, of business time: after this an undecided dispute is asked after, in case its events were lost."""

    outbox: Outbox
    check_after: timedelta

    async def remind(self) -> Round:
        """Sweep: staff are told of each deadline that comes near while there is no evidence."""
        async with self.outbox.transaction() as tx:
            now = await store.business_now(tx.connection)
            for dispute in await disputes.lock_due(tx.connection, disputing.REMINDERS):
                if (hours := disputing.due_reminder(dispute, now)) is not None:
                    tx.announce(saying.due(dispute, hours))
                    await disputes.mark_reminded(tx.connection, dispute.id, hours)
        return Round()

    async def ask_after(self) -> Round:
        """Sweep: Stripe is asked how disputes stand. It heals where its answer changes something."""
        async with self.outbox.transaction() as tx:
            for dispute_id, payment_intent in await disputes.lock_unchecked(tx.connection, self.check_after):
                await disputes.mark_checked(tx.connection, dispute_id)
                tx.announce(said.FetchDispute(dispute_id=dispute_id, payment_intent=payment_intent, swept=True))
        return Round()

    async def measure(self) -> Round:
        """Sweep: set the gauges of what is undecided, and of the nearest deadline."""
        async with acquire(self.outbox.pool) as connection:
            undecided, due_seconds = await disputes.measure_disputes(connection)
        metrics.DISPUTES_UNDECIDED.set(undecided)
        metrics.DISPUTES_DUE_SECONDS.set(math.inf if due_seconds is None else due_seconds)
        return Round()
