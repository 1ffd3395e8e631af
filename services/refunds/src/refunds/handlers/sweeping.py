"""What is looked for again and again: refunds that stand still or wait for a person, and successes that the bank took
back."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from payments_shared import metrics
from payments_shared.contracts import refunds as said
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import acquire, is_unavailable
from payments_shared.sweeper import Round
from payments_shared.switches import Switch, is_stopped
from refunds.decide import owing
from refunds.model.refunds import State
from refunds.store import refunds as store
from refunds.store import requests

TAKEN_UP_AT_ONCE: Final = 200  # Stripe takes a hundred calls a second, and a round comes every five

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sweeping:
    """`patience`: longer than a command ever waits between two attempts; `check_after`, of business time: after this a
    refund that Stripe called pending is asked after."""

    outbox: Outbox
    patience: timedelta
    check_after: timedelta

    async def go_on(self) -> Round:
        """Sweep: repeat submissions that were never answered, ask after refunds that stay pending.

        To repeat a submission is healing. To ask after what is pending is none: no event that we hear tells what
        becomes of it.
        """
        done = Round()
        async with self.outbox.transaction() as tx:
            unsettled = await store.lock_unsettled(tx.connection, self.patience, self.check_after)
            for refund_id, order_id, state in unsettled:
                unanswered = state in (State.APPROVED, State.SUBMITTED)
                command = said.SubmitRefund if unanswered else said.CheckRefund
                told = await self._tell_ourselves(tx, command(order_id=order_id, refund_id=refund_id))
                done += Round(healed=int(told and unanswered), failed=int(not told))
        metrics.SWEEPER_HEALED.labels("refund").inc(done.healed)
        return done

    async def take_up(self) -> Round:
        """Sweep: say the commands of refunds that were put off, once the switch is open."""
        done = Round()
        async with self.outbox.transaction() as tx:
            if await is_stopped(tx.connection, Switch.REFUNDS):
                return done
            for refund_id, order_id in await store.take_put_off(tx.connection, TAKEN_UP_AT_ONCE):
                told = await self._tell_ourselves(tx, said.SubmitRefund(order_id=order_id, refund_id=refund_id))
                done += Round(failed=int(not told))
        return done

    async def recheck(self) -> Round:
        """Sweep: ask again after refunds that succeeded, since the bank may have returned the money."""
        done = Round()
        async with self.outbox.transaction() as tx:
            for refund_id, order_id in await store.lock_watched(tx.connection, self.patience):
                told = await self._tell_ourselves(tx, said.CheckRefund(order_id=order_id, refund_id=refund_id))
                done += Round(failed=int(not told))
        return done

    async def measure(self) -> Round:
        """Sweep: set the gauges of refunds of which Stripe has said nothing for long, however often it is asked, and of
        those that wait for a second person."""
        async with acquire(self.outbox.pool) as connection:
            unanswered, unanswered_seconds = await store.measure_unanswered(connection, owing.ANSWERED_WITHIN)
            waiting, waiting_seconds = await requests.measure_waiting(connection)
        metrics.REFUNDS_UNANSWERED.set(unanswered)
        metrics.REFUNDS_UNANSWERED_OLDEST_SECONDS.set(unanswered_seconds)
        metrics.REFUNDS_AWAITING_APPROVAL.set(waiting)
        metrics.REFUNDS_AWAITING_APPROVAL_OLDEST_SECONDS.set(waiting_seconds)
        return Round()

    async def _tell_ourselves(self, tx: Transaction, command: said.SubmitRefund | said.CheckRefund) -> bool:
        try:
            async with tx.connection.transaction():  # a savepoint: an odd refund holds up no other
                await store.mark_asked(tx.connection, command.refund_id, owing.RECHECK)
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("refund.not_gone_on", refund_id=str(command.refund_id))
            return False
        tx.announce(command)
        return True
