"""Cards that will soon be good no more: their owners are told in time. Stripe says nothing of it."""

from dataclasses import dataclass

from checkout.decide import methods as rules
from checkout.store import methods as store
from checkout.store.methods import Expiring
from checkout.store.orders import business_now
from payments_shared.contracts import checkout as said
from payments_shared.messaging import Outbox, Transaction
from payments_shared.sweeper import Round


@dataclass(frozen=True, slots=True)
class Reminding:
    """One sweep. What was told of an expiry is remembered with the card, in the transaction that says it."""

    outbox: Outbox

    async def remind(self) -> Round:
        """Sweep: say of each default card, once, that it expires within the month."""
        after = ""
        while True:
            async with self.outbox.transaction() as tx:
                months = rules.ending_months(await business_now(tx.connection))
                livemode = self.outbox.livemode
                found = await store.list_expiring(tx.connection, months, after, livemode=livemode)
                for one in found:
                    await self._remind(tx, one)
            if not found:
                return Round()
            after = found[-1].method_id

    async def _remind(self, tx: Transaction, one: Expiring) -> None:
        methods = await store.list_methods(tx.connection, one.stripe_customer_id)
        now = await business_now(tx.connection)
        saved = rules.expiring(methods, one.default_method, one.method_id, now)
        if saved is None or saved.method.exp_year is None or saved.method.exp_month is None:
            return
        month = rules.month_number(saved.method.exp_year, saved.method.exp_month)
        if await store.mark_expiry_told(tx.connection, one.method_id, month):
            tx.announce(
                said.PaymentMethodExpiring(
                    payment_method=one.method_id,
                    customer=said.Customer(email=one.email),
                    brand=saved.method.brand,
                    last4=saved.method.last4,
                    label=saved.label,
                    exp_month=saved.method.exp_month,
                    exp_year=saved.method.exp_year,
                )
            )
