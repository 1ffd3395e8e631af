"""Use cases of fulfillment: fold a fact, then do what the facts ask for."""

from dataclasses import dataclass, replace
from uuid import UUID

from fulfillment import decide, store
from fulfillment.decide import Step
from fulfillment.model import Line, Order, RefundRank, Shipment, ShipmentState
from payments_shared.contracts import checkout, inventory, refunds
from payments_shared.contracts.fulfillment import (
    ShipmentCanceled,
    ShipmentCreated,
    ShipmentDelivered,
    ShipmentReturned,
    ShipmentShipped,
)
from payments_shared.contracts.inventory import StockLine
from payments_shared.errors import Refused
from payments_shared.ids import derived_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import acquire

_RANKS: dict[type[refunds.AboutRefund], RefundRank] = {
    refunds.RefundApproved: RefundRank.APPROVED,
    refunds.RefundSucceeded: RefundRank.SUCCEEDED,
    refunds.RefundFailed: RefundRank.OVER,
    refunds.RefundRejected: RefundRank.OVER,
    refunds.RefundCanceled: RefundRank.OVER,
}


@dataclass(frozen=True, slots=True)
class Handlers:
    """One method per input."""

    outbox: Outbox

    async def order_paid(self, tx: Transaction, message: checkout.OrderPaid) -> None:
        """Know what to send, where, and to whom."""
        order = await store.lock_order(tx.connection, message.order_id)
        address = message.shipping_address
        await self._settle(
            tx,
            decide.paid(
                order,
                lines=tuple(Line(line.sku, line.quantity) for line in message.lines),
                total_minor=message.total_minor,
                address=address.model_dump() if address else None,
                customer=message.customer.model_dump(),
            ),
        )

    async def stock_committed(self, tx: Transaction, message: inventory.StockCommitted) -> None:
        """Know that the goods are the order's."""
        order = await store.lock_order(tx.connection, message.order_id)
        await self._settle(tx, replace(order, stock_committed=True))

    async def order_held(self, tx: Transaction, message: checkout.OrderHeld) -> None:
        """Let nothing leave."""
        order = await store.lock_order(tx.connection, message.order_id)
        assert tx.cause is not None  # noqa: S101 - a consumed message always has its envelope
        await self._settle(tx, decide.held(order, tx.cause.time))

    async def order_unheld(self, tx: Transaction, message: checkout.OrderUnheld) -> None:
        """Let it go on."""
        order = await store.lock_order(tx.connection, message.order_id)
        assert tx.cause is not None  # noqa: S101 - a consumed message always has its envelope
        await self._settle(tx, decide.unheld(order, tx.cause.time))

    async def refund(self, tx: Transaction, message: refunds.AboutRefund) -> None:
        """Hold, free or cancel, as far as the refund concerns the whole order."""
        order = await store.lock_order(tx.connection, message.order_id)
        rank = _RANKS[type(message)]
        await self._settle(
            tx,
            decide.refund_fact(
                order, str(message.refund_id), rank, reason=message.reason, amount_minor=message.amount_minor
            ),
        )

    async def _settle(self, tx: Transaction, order: Order) -> None:
        await store.save_order(tx.connection, order)
        shipment = await store.shipment_of(tx.connection, order.order_id)
        match decide.next_step(order, shipment):
            case Step.CREATE:
                await self._create(tx, order)
            case Step.CANCEL:
                assert shipment is not None  # noqa: S101 - next_step cancels only what exists
                await self._move(tx, shipment, ShipmentState.CANCELED)
                tx.announce(
                    ShipmentCanceled(
                        order_id=order.order_id, shipment_id=shipment.id, lines=_said(shipment), reason="refunded"
                    )
                )
            case Step.NOTHING:
                return

    async def _create(self, tx: Transaction, order: Order) -> None:
        shipment = Shipment(
            id=derived_id("shipment", str(order.order_id)),
            order_id=order.order_id,
            state=ShipmentState.CREATED,
            lines=order.lines or (),
        )
        await store.insert_shipment(tx.connection, shipment, order)
        cause = tx.cause.type if tx.cause else "clerk"
        await store.record_transition(tx.connection, shipment.id, None, ShipmentState.CREATED, cause)
        tx.announce(
            ShipmentCreated(
                order_id=order.order_id, shipment_id=shipment.id, lines=_said(shipment), customer=_customer(order)
            )
        )

    async def move(
        self,
        shipment_id: UUID,
        wanted: ShipmentState,
        *,
        carrier: str | None = None,
        tracking_number: str | None = None,
    ) -> Shipment:
        """A clerk or a carrier says where the parcel is. Repeating it changes nothing.

        Raises:
            Refused: 404 for an unknown shipment, 409 for an illegal step.
        """
        async with self.outbox.transaction() as tx:
            shipment = await store.lock_shipment(tx.connection, shipment_id)
            if shipment is None:
                raise Refused("shipment_not_found", "There is no such shipment.", status=404)
            if not decide.check_arrow(shipment.state, wanted):
                return shipment
            order = await store.lock_order(tx.connection, shipment.order_id)
            await self._move(tx, shipment, wanted, carrier=carrier, tracking_number=tracking_number)
            moved = replace(shipment, state=wanted, carrier=carrier, tracking_number=tracking_number)
            self._announce_move(tx, moved, order)
        return moved

    def _announce_move(self, tx: Transaction, shipment: Shipment, order: Order) -> None:
        about = {"order_id": shipment.order_id, "shipment_id": shipment.id}
        customer = _customer(order)
        match shipment.state:
            case ShipmentState.SHIPPED:
                tx.announce(
                    ShipmentShipped(
                        **about,
                        carrier=shipment.carrier,
                        tracking_number=shipment.tracking_number,
                        customer=customer,
                    )
                )
            case ShipmentState.DELIVERED:
                tx.announce(ShipmentDelivered(**about, customer=customer))
            case ShipmentState.CANCELED:
                tx.announce(ShipmentCanceled(**about, lines=_said(shipment), reason="clerk"))
            case ShipmentState.RETURNED:
                tx.announce(ShipmentReturned(**about, lines=_said(shipment)))
            case ShipmentState.CREATED:
                return

    async def _move(
        self,
        tx: Transaction,
        shipment: Shipment,
        wanted: ShipmentState,
        *,
        carrier: str | None = None,
        tracking_number: str | None = None,
    ) -> None:
        await store.update_shipment(
            tx.connection, shipment.id, wanted, carrier=carrier, tracking_number=tracking_number
        )
        cause = tx.cause.type if tx.cause else "clerk"
        await store.record_transition(tx.connection, shipment.id, shipment.state, wanted, cause)

    async def shipments(self, order_id: UUID) -> list[Shipment]:
        """The shipments of an order."""
        async with acquire(self.outbox.pool) as connection:
            return await store.list_shipments(connection, order_id)


def _said(shipment: Shipment) -> tuple[StockLine, ...]:
    return tuple(StockLine(sku=line.sku, quantity=line.quantity) for line in shipment.lines)


def _customer(order: Order) -> checkout.Customer | None:
    return checkout.Customer.model_validate(order.customer) if order.customer else None
