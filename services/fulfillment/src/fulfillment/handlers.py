"""Use cases of fulfillment: lock the orders, add the facts, do what they ask for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never
from uuid import UUID

from fulfillment import decide, store
from fulfillment.decide import Decision, Fact, Movement
from fulfillment.model import (
    Dispute,
    Goods,
    Line,
    Order,
    Outcome,
    Refund,
    Shipment,
    ShipmentNotFound,
    Step,
    Verdict,
)
from payments_shared.contracts import checkout, inventory, refunds
from payments_shared.messaging import Batch, Outbox, Transaction
from payments_shared.postgres import Connection, acquire

Heard = (
    checkout.OrderPaid
    | checkout.OrderHeld
    | checkout.OrderUnheld
    | inventory.StockCommitted
    | refunds.AboutRefund
    | refunds.AboutDispute
)
"""What the neighbours say."""

_VERDICTS: Final[Mapping[type[refunds.AboutRefund], Verdict]] = MappingProxyType(
    {
        refunds.RefundApproved: Verdict.APPROVED,
        refunds.RefundRejected: Verdict.REJECTED,
        refunds.RefundSucceeded: Verdict.SUCCEEDED,
        refunds.RefundFailed: Verdict.FAILED,
        refunds.RefundCanceled: Verdict.CANCELED,
    }
)


_OUTCOMES: Final[Mapping[type[refunds.AboutDispute], Outcome]] = MappingProxyType(
    {
        refunds.DisputeOpened: Outcome.OPENED,
        refunds.DisputeWon: Outcome.WON,
        refunds.DisputeLost: Outcome.LOST,
    }
)


@dataclass(slots=True)
class House:
    """The locked orders of one transaction with their shipments, and what is to be saved of them at its end."""

    orders: dict[UUID, Order]
    shipments: dict[UUID, dict[UUID, Shipment]]
    learned: set[UUID] = field(default_factory=set)
    moved: dict[UUID, Shipment] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def learn(self, order_id: UUID, fact: Fact, reason: str) -> Decision:
        """Add a fact to its order, and do what the order's facts ask for then."""
        order = decide.fold(self.orders[order_id], fact)
        if order == self.orders[order_id]:
            return Decision()
        decision = decide.settle(order, tuple(self.shipments[order_id].values()))
        delivered = order.digital_delivered or decision.digital_delivered
        self.orders[order_id] = replace(order, digital_delivered=delivered)
        self.learned.add(order_id)
        return self.apply(decision, reason)

    def apply(self, decision: Decision, reason: str) -> Decision:
        """Make the decision true; it is returned as it came."""
        for shipment in decision.shipments:
            shipments = self.shipments[shipment.order_id]
            known = shipments.get(shipment.id)
            before = known.state if known else None
            if before is not shipment.state:
                self.steps.append(Step(shipment.id, before, shipment.state, reason))
            shipments[shipment.id] = self.moved[shipment.id] = shipment
        return decision


@dataclass(frozen=True, slots=True)
class Handlers:
    """One method per input."""

    outbox: Outbox

    async def learn(self, batch: Batch[Heard]) -> None:
        """Know what to send, where, and to whom; that the goods are the order's; that nothing may leave, or may again;
        and what was said of a refund or of a dispute, which may hold goods, free them, or take them out of the
        parcel."""
        house = await _open(batch.connection, {message.order_id for message in batch.messages})
        for tx, message in batch:
            _announce(tx, house.learn(message.order_id, _fact(message, _said_at(tx)), message.TYPE))
        await _save(batch.connection, house)

    async def move(self, shipment_id: UUID, movement: Movement, *, actor: str) -> Shipment:
        """A person or a carrier reports where the parcel is. A repeat changes nothing.

        Raises:
            ShipmentNotFound, ShipmentHeld, IllegalStep: nothing was changed.
        """
        async with self.outbox.transaction() as tx:
            order_id = await store.find_order_of(tx.connection, shipment_id)
            if order_id is None:
                raise ShipmentNotFound
            house = await _open(tx.connection, {order_id})
            shipment = house.shipments[order_id][shipment_id]
            order, shipments = house.orders[order_id], tuple(house.shipments[order_id].values())
            _announce(tx, house.apply(decide.move(order, shipment, movement, shipments=shipments), actor))
            await _save(tx.connection, house)
        return house.shipments[order_id][shipment_id]

    async def shipments(self, order_id: UUID) -> tuple[list[Shipment], Order | None]:
        """The shipments of an order and what is known of it; None for one that is not known here."""
        async with acquire(self.outbox.pool) as connection:
            found = await store.list_shipments(connection, [order_id])
            return found, await store.load_order(connection, order_id)


async def _open(connection: Connection, order_ids: Iterable[UUID]) -> House:
    house = House(await store.lock_orders(connection, order_ids), {order_id: {} for order_id in order_ids})
    for shipment in await store.list_shipments(connection, order_ids):
        house.shipments[shipment.order_id][shipment.id] = shipment
    return house


async def _save(connection: Connection, house: House) -> None:
    if house.learned:
        await store.save_orders(connection, [house.orders[order_id] for order_id in house.learned])
    if house.moved:
        await store.save_shipments(connection, list(house.moved.values()))
    if house.steps:
        await store.insert_transitions(connection, house.steps)


def _announce(tx: Transaction, decision: Decision) -> None:
    for message in decision.announce:
        tx.announce(message)


def _fact(message: Heard, said_at: datetime) -> Fact:
    match message:
        case checkout.OrderPaid():
            return decide.Paid(_goods(message))
        case inventory.StockCommitted():
            return decide.StockCommitted()
        case checkout.OrderHeld():
            return decide.Held(said_at, message.cause)
        case checkout.OrderUnheld():
            return decide.Unheld(said_at, message.cause)
        case refunds.AboutRefund():
            return _refund(message)
        case refunds.AboutDispute():
            outcome = _OUTCOMES[type(message)]
            return Dispute(message.dispute_id, message.payment_intent, message.version, outcome)
        case _:
            assert_never(message)


def _goods(message: checkout.OrderPaid) -> Goods:
    address = message.shipping_address
    return Goods(
        lines=decide.merged([Line(*goods) for line in message.lines for goods in line.sent()]),
        digital=decide.merged([Line(*goods) for line in message.lines for goods in line.unsent()]),
        total_minor=message.total_minor,
        payment_intents=frozenset(payment.payment_intent for payment in message.payments),
        address=address.model_dump() if address else None,
        customer=message.customer.model_dump(),
        way=message.shipping_option.model_dump() if message.shipping_option else None,
    )


def _refund(message: refunds.AboutRefund) -> Refund:
    return Refund(
        refund_id=message.refund_id,
        payment_intent=message.payment_intent,
        amount_minor=message.amount_minor,
        reason=message.reason,
        lines=tuple(Line(line.sku, line.quantity) for line in message.lines),
        verdicts=frozenset({_VERDICTS[type(message)]}),
        unsellable=tuple(Line(line.sku, line.quantity) for line in message.unsellable),
    )


def _said_at(tx: Transaction) -> datetime:
    """When the fact was recorded by its owner: of two words, the later one holds, whichever comes first."""
    if tx.cause is None:
        raise LookupError("only a message has a time of its own")
    return tx.cause.time
