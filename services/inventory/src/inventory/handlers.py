"""Use cases of inventory: look, decide, save, announce, in one transaction each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from inventory import decide, store
from inventory.decide import Declined, Heard, Move
from inventory.model import BelowPromised, Line, OutOfStock, Standing, State, Stock
from payments_shared import metrics
from payments_shared.contracts import checkout, fulfillment
from payments_shared.contracts.inventory import StockLine, StockLow
from payments_shared.errors import Poison
from payments_shared.ids import external_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import acquire, is_unavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handlers:
    """`low_threshold` in units; `grace_seconds` is how long the backstop waits after a hold's deadline."""

    outbox: Outbox
    low_threshold: int
    grace_seconds: float

    async def hold(self, order_id: UUID, lines: Sequence[Line], expires_at: datetime) -> tuple[State, bool]:
        """Hold `lines` for an order until `expires_at`: the state of its reservation, and whether it is new.

        Raises:
            OutOfStock: nothing is held, and what there is comes with it.
            ReservationClosed: the order has ended, perhaps before this call arrived.
            ReservationDiffers: the order holds other lines.
        """
        wanted = decide.merged(lines)
        async with self.outbox.transaction(correlation=external_id("ord", order_id)) as tx:
            rows = await store.hold_stock(tx.connection, order_id, wanted, expires_at)
            free = {row.sku: row.available for row in rows}
            if rows[0].taken:
                for low in decide.low_stock(wanted, free, Move.HOLD, self.low_threshold):
                    tx.announce(low)
            elif not rows[0].claimed and (current := await store.load_reservation(tx.connection, order_id)):
                return decide.answer_hold(current, wanted), False
            else:
                metrics.RESERVATIONS.labels("out_of_stock").inc()
                raise OutOfStock(decide.missing_of(wanted, free))
        metrics.RESERVATIONS.labels("held").inc()
        return State.HELD, True

    async def order_paid(self, tx: Transaction, message: checkout.OrderPaid) -> None:
        """Sell what was held, or what is free; else say that the order cannot be served."""
        await self._apply(tx, message.order_id, Heard(Standing.PAID, "paid", _lines(message.lines)))

    async def order_processing(self, tx: Transaction, message: checkout.OrderProcessing) -> None:
        """Keep the goods without a deadline, or take them again."""
        heard = Heard(Standing.PROCESSING, "processing", _lines(message.lines))
        await self._apply(tx, message.order_id, heard)

    async def payment_failed(self, tx: Transaction, message: checkout.OrderPaymentFailed) -> None:
        """Release at once, or shorten the hold, as the message says."""
        received: Heard | Declined
        if message.final:
            received = Heard(Standing.FAILED, "payment_failed")
        elif message.abandoned:
            received = Heard(Standing.ENDED, "abandoned")
        elif message.hold_until is not None:
            received = Declined(message.hold_until)
        else:
            return
        await self._apply(tx, message.order_id, received)

    async def order_expired(self, tx: Transaction, message: checkout.OrderExpired) -> None:
        """Release, and refuse a hold that comes later."""
        await self._apply(tx, message.order_id, Heard(Standing.ENDED, "expired"))

    async def order_canceled(self, tx: Transaction, message: checkout.OrderCanceled) -> None:
        """Release for good: money that comes for a canceled order goes back, so none of its goods wait for it."""
        await self._apply(tx, message.order_id, Heard(Standing.FAILED, "canceled"))

    async def shipment_back(
        self, tx: Transaction, message: fulfillment.ShipmentCanceled | fulfillment.ShipmentReturned
    ) -> None:
        """Put goods back on the shelf, once per shipment. No refund does: they may be on their way.

        Raises:
            Poison: the order was never sold that much.
        """
        lines = _lines(message.lines)
        await store.take_turn(tx.connection)
        current = await store.load_reservation(tx.connection, message.order_id)
        if current is None or current.state is not State.COMMITTED:
            raise Poison("nothing_sold", "Goods came back of an order that was sold none.")
        if not await store.insert_restock(tx.connection, message.shipment_id, message.order_id, message.TYPE):
            return
        if not await store.restock_lines(tx.connection, message.order_id, lines):
            raise Poison("more_than_sold", "More came back than the order was sold.")
        await store.move_stock(tx.connection, lines, Move.RESTOCK)

    async def release_overdue(self) -> None:
        """The backstop: release what is long past its deadline and nobody spoke of."""
        async with acquire(self.outbox.pool) as connection:
            overdue = await store.list_overdue(connection, self.grace_seconds)
        for order_id in overdue:
            try:
                await self._release_overdue(order_id)
            except Exception as error:
                if is_unavailable(error):
                    raise
                # One odd order keeps nobody else's goods: its turn comes again.
                log.exception("reservation.not_released", order_id=external_id("ord", order_id))

    async def _release_overdue(self, order_id: UUID) -> None:
        async with self.outbox.transaction(correlation=external_id("ord", order_id)) as tx:
            # Only an open reservation has a deadline, and that only moves closer: it is overdue still.
            released = await self._apply(tx, order_id, Heard(Standing.ENDED, "deadline"))
        if released:
            metrics.SWEEPER_HEALED.labels("reservation").inc()
            log.warning("reservation.released_by_deadline", order_id=external_id("ord", order_id))

    async def stock(self) -> list[Stock]:
        """All SKUs."""
        async with acquire(self.outbox.pool) as connection:
            return await store.list_stock(connection)

    async def put_stock(self, sku: str, total: int) -> Stock:
        """Set the total of a SKU.

        Raises:
            BelowPromised: more than `total` is held and sold.
        """
        async with self.outbox.transaction() as tx:
            before = await store.lock_stock(tx.connection, [sku])
            after = await store.put_stock(tx.connection, sku, total)
            if after is None:
                raise BelowPromised(before[0])
            if before and decide.crossed_low(before[0].available, after.available, self.low_threshold):
                tx.announce(StockLow(sku=sku, available=after.available, threshold=self.low_threshold))
        return after

    async def _apply(self, tx: Transaction, order_id: UUID, received: Heard | Declined) -> bool:
        """Apply one word; whether it changed anything."""
        await store.take_turn(tx.connection)
        current = await store.load_reservation(tx.connection, order_id)
        skus = [line.sku for line in decide.lines_to_take(current, received)]
        stock = await store.lock_stock(tx.connection, skus) if skus else []
        decision = decide.step(
            order_id,
            current,
            received,
            free={row.sku: row.available for row in stock},
            low_threshold=self.low_threshold,
        )
        if decision is None:
            return False
        before, after = current.state if current else None, decision.reservation
        reason = received.reason if isinstance(received, Heard) else "declined"
        await store.save_step(tx.connection, before, after, move=decision.move, reason=reason)
        for message in decision.announce:
            tx.announce(message, sequence=None if isinstance(message, StockLow) else after.version)
        if after.state is not before:
            metrics.RESERVATIONS.labels(after.state.value).inc()
        return True


def _lines(lines: Sequence[checkout.Line] | Sequence[StockLine]) -> tuple[Line, ...]:
    return decide.merged([Line(line.sku, line.quantity) for line in lines])
