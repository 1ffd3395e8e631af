"""What proves orders is kept as it is heard, and put together when a payment is disputed."""

from dataclasses import dataclass
from datetime import datetime

from payments_shared.errors import Refused
from payments_shared.messaging import Batch, Outbox, Transaction
from payments_shared.postgres import Connection, acquire
from payments_shared.stripe_client import refused_as_unknown
from refunds.decide import exhibiting, hearing
from refunds.decide.exhibiting import Case
from refunds.decide.hearing import Heard
from refunds.gateway import Evidence
from refunds.model.disputes import Dispute
from refunds.model.exhibits import Exhibit
from refunds.model.packs import Pack
from refunds.model.submissions import Submission
from refunds.store import disputes, submissions
from refunds.store import exhibits as store
from refunds.store import refunds as orders


@dataclass(frozen=True, slots=True)
class View:
    """A pack, and what was handed in of the dispute so far, the newest first."""

    pack: Pack
    submissions: tuple[Submission, ...]


@dataclass(frozen=True, slots=True)
class Exhibiting:
    """Keeps facts, and makes packs of them. `policy` is what the shop says of refunds to its buyers."""

    outbox: Outbox
    stripe: Evidence
    policy: str = ""

    async def keep(self, batch: Batch[Heard]) -> None:
        """Keep what is proof; a repeat changes nothing. Nothing is decided, but whether goods have gone decides
        elsewhere what goes back: whoever looks at that under the order's lock sees it, or comes first."""
        heard = [hearing.exhibit_of(message, said_at(tx)) for tx, message in batch.taken]
        found = [one for one in heard if one is not None]
        await orders.lock_orders(batch.connection, {one.order_id for one in found if hearing.shows_gone(one)})
        await store.keep(batch.connection, found)

    async def show(self, dispute_id: str) -> View:
        """The pack of a dispute as things stand. How Stripe took the money is asked once and kept.

        Raises:
            Refused: 404 `not_found`.
            OutcomeUnknown: Stripe does not say how.
        """
        async with acquire(self.outbox.pool) as connection:
            dispute = await find_dispute(connection, dispute_id)
            unasked = await _unasked(connection, dispute)
        if dispute.order_id is not None and unasked:
            with refused_as_unknown():
                found = [charge for intent in unasked for charge in await self.stripe.charges(intent)]
            async with acquire(self.outbox.pool) as connection:
                await store.keep(connection, [hearing.exhibit_of_charge(dispute.order_id, charge) for charge in found])
        async with acquire(self.outbox.pool) as connection:
            pack = await self.pack_of(connection, dispute)
            return View(pack, tuple(await submissions.list_of(connection, dispute_id)))

    async def pack_of(self, connection: Connection, dispute: Dispute) -> Pack:
        """The pack of what is kept now."""
        if dispute.order_id is None:
            return exhibiting.pack_of(Case(dispute, None, (), (), self.policy))
        order = await orders.load_order(connection, dispute.order_id)
        exhibits = await store.list_exhibits(connection, dispute.order_id)
        refunds = await store.given_back(connection, dispute.order_id)
        return exhibiting.pack_of(Case(dispute, order, exhibits, refunds, self.policy))


async def find_dispute(connection: Connection, dispute_id: str) -> Dispute:
    """A dispute, not locked.

    Raises:
        Refused: 404 `not_found`.
    """
    found = await disputes.load_dispute(connection, dispute_id)
    if found is None:
        raise Refused("not_found", "There is no such dispute.", status=404)
    return found


async def _unasked(connection: Connection, dispute: Dispute) -> list[str]:
    """The payments of the dispute's order of which it is not known how Stripe took them."""
    if dispute.order_id is None:
        return []
    known = {
        charge.payment_intent for charge in hearing.charges_of(await store.list_exhibits(connection, dispute.order_id))
    }
    payments = await orders.list_payments(connection, dispute.order_id)
    return [payment.payment_intent for payment in payments if payment.payment_intent not in known]


async def keep_exhibit(tx: Transaction, exhibit: Exhibit | None) -> None:
    """Keep what proves an order in the transaction that decides about it, if it proves anything."""
    if exhibit is not None:
        await store.keep(tx.connection, [exhibit])


def said_at(tx: Transaction) -> datetime:
    """When a fact was recorded by its owner."""
    if tx.cause is None:
        raise LookupError("only a message has a time of its own")
    return tx.cause.time
