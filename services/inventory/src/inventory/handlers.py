"""Use cases of inventory: each locks the order, then the stock in the order of SKUs, decides, saves, announces."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from inventory import decide, store
from inventory.decide import Decision, Move
from inventory.model import Line, OutOfStock, Reservation, ReservationClosed, State, Stock
from payments_shared import metrics
from payments_shared.contracts import checkout, fulfillment
from payments_shared.contracts.inventory import (
    MissingLine,
    StockCommitted,
    StockLine,
    StockLow,
    StockReleased,
    StockShortfall,
)
from payments_shared.errors import Refused
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import acquire


@dataclass(frozen=True, slots=True)
class Handlers:
    """`low_threshold` in units; `grace_seconds` is how long the backstop waits after a hold's own deadline."""

    outbox: Outbox
    low_threshold: int
    grace_seconds: float

    async def hold(self, order_id: UUID, lines: Sequence[Line], expires_at: datetime) -> bool:
        """Hold `lines` for an order until `expires_at`. True when it is new, False when it was held before.

        Raises:
            OutOfStock: nothing is held, and what there is comes with it.
            ReservationClosed: the order has ended, perhaps before this call arrived.
        """
        wanted = decide.merged(lines)
        async with self.outbox.transaction() as tx:
            current = await store.lock_reservation(tx.connection, order_id)
            if current is not None:
                if current.state in (State.HELD, State.COMMITTED):
                    return False
                raise ReservationClosed
            stock = await store.lock_stock(tx.connection, wanted)
            if missing := decide.missing_of(wanted, stock):
                metrics.RESERVATIONS.labels("out_of_stock").inc()
                raise OutOfStock(missing)
            if not await store.insert_reservation(tx.connection, Reservation(order_id, State.HELD, expires_at)):
                raise ReservationClosed
            await store.insert_lines(tx.connection, order_id, wanted)
            await store.record_transition(tx.connection, order_id, None, State.HELD, "hold")
            await self._move(tx, wanted, Move.HOLD)
        metrics.RESERVATIONS.labels("held").inc()
        return True

    async def order_paid(self, tx: Transaction, message: checkout.OrderPaid) -> None:
        """Sell what was held, or what is free; else say that the order cannot be served."""
        lines = decide.merged([Line(line.sku, line.quantity) for line in message.lines])
        await self._step(tx, message.order_id, decide.Paid(), lines)

    async def order_processing(self, tx: Transaction, message: checkout.OrderProcessing) -> None:
        """Keep the goods without a deadline."""
        lines = decide.merged([Line(line.sku, line.quantity) for line in message.lines])
        await self._step(tx, message.order_id, decide.Processing(), lines)

    async def payment_failed(self, tx: Transaction, message: checkout.OrderPaymentFailed) -> None:
        """Release at once, or shorten the hold, as the message says."""
        received: decide.Input
        if message.final:
            received = decide.SettlementFailed()
        elif message.abandoned:
            received = decide.Abandoned()
        elif message.hold_until is not None:
            received = decide.Declined(message.hold_until)
        else:
            return
        await self._step(tx, message.order_id, received)

    async def order_expired(self, tx: Transaction, message: checkout.OrderExpired) -> None:
        """Release."""
        await self._step(tx, message.order_id, decide.Expired())

    async def order_canceled(self, tx: Transaction, message: checkout.OrderCanceled) -> None:
        """Release, and refuse any hold that comes later."""
        await self._step(tx, message.order_id, decide.Canceled())

    async def shipment_back(
        self, tx: Transaction, message: fulfillment.ShipmentCanceled | fulfillment.ShipmentReturned
    ) -> None:
        """Put goods back on the shelf, once per shipment. A refund alone never does: they may be on their way."""
        lines = decide.merged([Line(line.sku, line.quantity) for line in message.lines])
        current = await store.lock_reservation(tx.connection, message.order_id)
        if current is None or current.state is not State.COMMITTED:
            raise Refused("nothing_committed", "The order holds no sold goods.")
        if not await store.claim_restock(tx.connection, message.shipment_id, message.order_id):
            return
        await store.lock_stock(tx.connection, lines)
        await store.return_stock(tx.connection, message.order_id, lines)

    async def release_overdue(self) -> None:
        """The backstop: release what is long past its deadline and nobody spoke of."""
        async with self.outbox.transaction() as tx:
            for order_id in await store.lock_overdue(tx.connection, self.grace_seconds):
                await self._step(tx, order_id, decide.DeadlinePassed())
                metrics.SWEEPER_HEALED.labels("reservation").inc()

    async def stock(self) -> list[Stock]:
        """All SKUs with their piles."""
        async with acquire(self.outbox.pool) as connection:
            return await store.list_stock(connection)

    async def put_stock(self, sku: str, total: int) -> Stock:
        """Set the total of a SKU.

        Raises:
            Refused: 409, more than `total` is promised already.
        """
        async with acquire(self.outbox.pool) as connection:
            changed = await store.put_stock(connection, sku, total)
        if changed is None:
            raise Refused("below_promised", "More than this is held or sold already.")
        return changed

    async def _step(
        self, tx: Transaction, order_id: UUID, received: decide.Input, given: Sequence[Line] = ()
    ) -> None:
        current = await store.lock_reservation(tx.connection, order_id)
        stored = await store.load_lines(tx.connection, order_id) if current else []
        lines = tuple(Line(line.sku, line.quantity) for line in stored) or tuple(given)
        needs_stock = isinstance(received, decide.Paid | decide.Processing)
        stock = await store.lock_stock(tx.connection, lines) if needs_stock and lines else []
        missing = decide.missing_of(lines, stock)
        decision = decide.step(order_id, current, received, free=bool(lines) and not missing)
        if decision.reservation == current:
            return
        if current is None and not await store.insert_reservation(tx.connection, decision.reservation):
            # A hold committed between our look and our insert: look again.
            await self._step(tx, order_id, received, given)
            return
        if current is not None:
            await store.update_reservation(tx.connection, decision.reservation)
        if lines and not stored and decision.reservation.state in (State.COMMITTED, State.HELD):
            await store.insert_lines(tx.connection, order_id, lines)
        await self._save(tx, current, decision, lines)
        if decision.reservation.state is State.SHORTFALL:
            rows = tuple(MissingLine(sku=m.sku, quantity=m.requested, available=m.available) for m in missing)
            tx.announce(StockShortfall(order_id=order_id, missing=rows))

    async def _save(
        self, tx: Transaction, current: Reservation | None, decision: Decision, lines: Sequence[Line]
    ) -> None:
        after = decision.reservation
        before = current.state if current else None
        if before is after.state:
            return
        cause = tx.cause.type if tx.cause else "deadline"
        await store.record_transition(tx.connection, after.order_id, before, after.state, cause)
        metrics.RESERVATIONS.labels(after.state.value).inc()
        await self._move(tx, lines, decision.move)
        said = tuple(StockLine(sku=line.sku, quantity=line.quantity) for line in lines)
        if decision.move in (Move.COMMIT_HELD, Move.COMMIT_FREE):
            tx.announce(StockCommitted(order_id=after.order_id, lines=said))
        elif decision.move is Move.RELEASE:
            tx.announce(StockReleased(order_id=after.order_id, lines=said, reason=cause))

    async def _move(self, tx: Transaction, lines: Sequence[Line], move: Move) -> None:
        change = decide.PILES[move][0]
        quantities = {line.sku: line.quantity for line in lines}
        for row in await store.move_stock(tx.connection, lines, move):
            before = row.available - change * quantities[row.sku]
            if decide.crossed_low(before, row.available, self.low_threshold):
                tx.announce(StockLow(sku=row.sku, available=row.available, threshold=self.low_threshold))
