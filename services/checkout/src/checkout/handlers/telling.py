"""Stripe's customers are told the addresses that ours have by now: later, so that no buyer waits for it."""

from dataclasses import dataclass
from typing import Final

import structlog

from checkout.gateway import Payments
from checkout.model.customers import Renewed
from checkout.store import methods as store
from payments_shared.failpoints import failpoint
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused
from payments_shared.sweeper import Round, some_at_once

PAGE: Final = 50
ASKED_AT_ONCE: Final = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Telling:
    """One sweep. Each renewal of an address has a number, which is part of the key and is kept once Stripe knows it: an
    older one never takes the place of a newer."""

    outbox: Outbox
    payments: Payments

    async def tell(self) -> Round | None:
        """Sweep: tell Stripe of fifty renewed addresses at most; None while Stripe does not answer."""
        if self.payments.stripe.resting:
            return None
        async with acquire(self.outbox.pool) as connection:
            renewed = await store.list_renewed(connection, livemode=self.outbox.livemode, limit=PAGE)
        return sum(await some_at_once(self._told, renewed, limit=ASKED_AT_ONCE), start=Round())

    async def _told(self, one: Renewed) -> Round:
        try:
            await self.payments.renew_customer(one)
        except OutcomeUnknown:
            return Round(failed=1)
        except StripeRefused as refusal:
            # He is gone there, or Stripe takes no such address: the next one may be better.
            log.warning("customer.not_renewed", customer=str(one.id), code=refusal.code, param=refusal.param)
        failpoint("after_stripe_call")
        async with acquire(self.outbox.pool) as connection:
            await store.mark_told(connection, one)
        return Round()
