"""Use cases of fulfillment: lock the order, add the fact, do what the facts ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from fulfillment import decide, store
from fulfillment.decide import Decision, Fact, Movement
from fulfillment.model import Goods, Line, Order, Refund, Shipment, ShipmentNotFound, Verdict
from payments_shared.contracts import checkout, inventory, refunds
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import acquire

_VERDICTS: Final[Mapping[type[refunds.AboutRefund], Verdict]] = MappingProxyType(
    {
        refunds.RefundApproved: Verdict.APPROVED,
        refunds.RefundRejected: Verdict.REJECTED,
        refunds.RefundSucceeded: Verdict.SUCCEEDED,
        refunds.RefundFailed: Verdict.FAILED,
        refunds.RefundCanceled: Verdict.CANCELED,
    }
)


@dataclass(frozen=True, slots=True)
class Handlers:
    """One method per input."""

    outbox: Outbox

    async def order_paid(self, tx: Transaction, message: checkout.OrderPaid) -> None:
        """Know what to send, where, and to whom."""
        address = message.shipping_address
        goods = Goods(
            lines=decide.merged([Line(line.sku, line.quantity) for line in message.lines]),
            total_minor=message.total_minor,
            payment_intents=frozenset(payment.payment_intent for payment in message.payments),
            address=address.model_dump() if address else None,
            customer=message.customer.model_dump(),
        )
        await self._learn(tx, message.order_id, decide.Paid(goods))

    async def stock_committed(self, tx: Transaction, message: inventory.StockCommitted) -> None:
        """Know that the goods are the order's."""
        await self._learn(tx, message.order_id, decide.StockCommitted())

    async def order_held(self, tx: Transaction, message: checkout.OrderHeld) -> None:
        """Let nothing leave."""
        await self._learn(tx, message.order_id, decide.Held(_said_at(tx)))

    async def order_unheld(self, tx: Transaction, message: checkout.OrderUnheld) -> None:
        """Let it go on."""
        await self._learn(tx, message.order_id, decide.Unheld(_said_at(tx)))

    async def refund(self, tx: Transaction, message: refunds.AboutRefund) -> None:
        """Know what was said of a refund; it may hold goods, free them, or take them out of the parcel."""
        fact = Refund(
            refund_id=message.refund_id,
            payment_intent=message.payment_intent,
            amount_minor=message.amount_minor,
            reason=message.reason,
            lines=tuple(Line(line.sku, line.quantity) for line in message.lines),
            verdicts=frozenset({_VERDICTS[type(message)]}),
        )
        await self._learn(tx, message.order_id, fact)

    async def move(self, shipment_id: UUID, movement: Movement, *, actor: str) -> Shipment:
        """A person or a carrier reports where the parcel is. A repeat changes nothing.

        Raises:
            ShipmentNotFound, ShipmentHeld, IllegalStep: nothing was changed.
        """
        async with self.outbox.transaction() as tx:
            order_id = await store.find_order_of(tx.connection, shipment_id)
            if order_id is None:
                raise ShipmentNotFound
            order = await store.lock_order(tx.connection, order_id)
            shipments = await store.list_shipments(tx.connection, order_id)
            shipment = next(found for found in shipments if found.id == shipment_id)
            decision = decide.move(order, shipment, movement)
            await self._save(tx, shipments, decision, actor)
        return decision.shipments[0] if decision.shipments else shipment

    async def shipments(self, order_id: UUID) -> tuple[list[Shipment], Mapping[str, str | None] | None]:
        """The shipments of an order and where they go; none for an order that is not known here."""
        async with acquire(self.outbox.pool) as connection:
            found = await store.list_shipments(connection, order_id)
            return found, await store.load_address(connection, order_id)

    async def _learn(self, tx: Transaction, order_id: UUID, fact: Fact) -> None:
        known = await store.lock_order(tx.connection, order_id)
        order: Order = decide.fold(known, fact)
        if order == known:
            return
        await store.save_order(tx.connection, order)
        shipments = await store.list_shipments(tx.connection, order_id)
        reason = tx.cause.type if tx.cause else "unknown"
        await self._save(tx, shipments, decide.settle(order, shipments), reason)

    async def _save(self, tx: Transaction, before: Sequence[Shipment], decision: Decision, reason: str) -> None:
        states = {shipment.id: shipment.state for shipment in before}
        for shipment in decision.shipments:
            await store.save_shipment(tx.connection, shipment)
            was = states.get(shipment.id)
            if was is not shipment.state:
                await store.insert_transition(tx.connection, shipment.id, was, shipment.state, reason)
        for message in decision.announce:
            tx.announce(message)


def _said_at(tx: Transaction) -> datetime:
    """When the fact was recorded by its owner: of two words, the later one holds, whichever comes first."""
    if tx.cause is None:
        raise LookupError("only a message has a time of its own")
    return tx.cause.time
