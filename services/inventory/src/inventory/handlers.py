"""Use cases of inventory: look, decide, save, announce, in one transaction each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never
from uuid import UUID

import structlog

from inventory import decide, store
from inventory.decide import Again, CameBack, Decision, Declined, Heard, Move
from inventory.model import BelowPromised, Line, OutOfStock, Reservation, Restock, Standing, State, Step, Stock
from payments_shared import metrics
from payments_shared.contracts import checkout, fulfillment
from payments_shared.contracts.inventory import StockLine, StockLow
from payments_shared.ids import external_id
from payments_shared.messaging import Batch, Outbox, Transaction
from payments_shared.postgres import Connection, acquire, is_unavailable
from payments_shared.sweeper import Round

log = structlog.get_logger(__name__)


Message = (
    checkout.OrderPaid
    | checkout.OrderProcessing
    | checkout.OrderPaymentFailed
    | checkout.OrderPaymentRetrying
    | checkout.OrderExpired
    | checkout.OrderCanceled
    | fulfillment.ShipmentCanceled
    | fulfillment.ShipmentReturned
)
Word = Heard | Declined | CameBack | Again


@dataclass(slots=True)
class Shelf:
    """What one transaction has locked, as it stands after each word, and what is to be saved of it at the end.

    `free` is what is available by SKU, `returned` the shipments whose goods are back, `lined` the orders whose lines
    are new, `moved` the change of (available, held, committed) by SKU.
    """

    reservations: dict[UUID, Reservation]
    free: dict[str, int]
    returned: set[UUID]
    changed: set[UUID] = field(default_factory=set)
    lined: set[UUID] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    restocks: list[Restock] = field(default_factory=list)
    moved: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def apply(self, decision: Decision, reason: str) -> None:
        """Make a decision true."""
        after = decision.reservation
        before = self.reservations.get(after.order_id)
        if after.lines and not (before and before.lines):
            self.lined.add(after.order_id)
        state = before.state if before else None
        if after.state is not state:
            self.steps.append(Step(after.order_id, state, after.state, reason))
        self.reservations[after.order_id] = after
        self.changed.add(after.order_id)
        self._move(after.lines, decision.move)

    def put_back(self, order_id: UUID, back: CameBack) -> bool:
        """Put goods back on the shelf, once per shipment; whether this was the first time."""
        if back.shipment_id in self.returned:
            return False
        self.reservations[order_id] = decide.put_back(self.reservations.get(order_id), back)
        self.returned.add(back.shipment_id)
        self.restocks.append(Restock(back.shipment_id, order_id, back.reason))
        self._move(back.lines, Move.RESTOCK)
        return True

    def _move(self, lines: Sequence[Line], move: Move) -> None:
        if move is Move.NONE:
            return
        available, held, committed = move.value
        for line in lines:
            before = self.moved.get(line.sku, (0, 0, 0))
            self.moved[line.sku] = (
                before[0] + available * line.quantity,
                before[1] + held * line.quantity,
                before[2] + committed * line.quantity,
            )
            self.free[line.sku] = self.free.get(line.sku, 0) + available * line.quantity


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

    async def hold_again(self, order_id: UUID, lines: Sequence[Line], expires_at: datetime, attempt: int) -> State:
        """Hold the stock of an order anew, for its attempt number `attempt` to be charged; repeating it is harmless.

        Raises:
            OutOfStock, ReservationClosed, ReservationDiffers: as `hold`.
        """
        wanted = Again(attempt, decide.merged(lines), expires_at)
        async with self.outbox.transaction(correlation=external_id("ord", order_id)) as tx:
            shelf = await _open(tx.connection, [(order_id, wanted)])
            current = shelf.reservations.get(order_id)
            decision = decide.hold_again(current, wanted, free=shelf.free, low_threshold=self.low_threshold)
            if decision is not None:
                shelf.apply(decision, "hold_again")
                for low in decision.announce:
                    tx.announce(low)
                await _save(tx.connection, shelf)
        return State.HELD

    async def hear(self, batch: Batch[Message]) -> None:
        """Sell what was held, or what is free, or say that the order cannot be served; keep the goods without a
        deadline; shorten a hold, or release it, for good or until money comes; put goods back on the shelf."""
        words = [(message.order_id, _word(message)) for message in batch.messages]
        shelf = await _open(batch.connection, words)
        for (tx, _), (order_id, word) in zip(batch, words, strict=True):
            self._apply(tx, shelf, order_id, word)
        await _save(batch.connection, shelf)

    async def release_overdue(self) -> Round:
        """The backstop: release what is long past its deadline and nobody spoke of."""
        done = Round()
        async with acquire(self.outbox.pool) as connection:
            overdue = await store.list_overdue(connection, self.grace_seconds)
        for order_id in overdue:
            try:
                await self._release_overdue(order_id)
            except Exception as error:
                if is_unavailable(error):
                    raise
                # One odd order keeps nobody else's goods: its turn comes again.
                log.exception("reservation.not_released", order_id=order_id)
                done += Round(failed=1)
        return done

    async def _release_overdue(self, order_id: UUID) -> None:
        async with self.outbox.transaction(correlation=external_id("ord", order_id)) as tx:
            overdue = Heard(Standing.ENDED, "deadline")
            shelf = await _open(tx.connection, [(order_id, overdue)])
            if not await store.is_overdue(tx.connection, order_id, self.grace_seconds):
                return  # it was held anew meanwhile, for another attempt to charge it
            released = self._apply(tx, shelf, order_id, overdue)
            await _save(tx.connection, shelf)
        if released:
            metrics.SWEEPER_HEALED.labels("reservation").inc()
            log.warning("reservation.released_by_deadline", order_id=order_id)

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

    def _apply(self, tx: Transaction, shelf: Shelf, order_id: UUID, word: Word | None) -> bool:
        """Apply one word about an order; whether it changed anything."""
        match word:
            case CameBack():
                return shelf.put_back(order_id, word)
            case Heard() | Declined():
                decision = decide.step(
                    order_id,
                    shelf.reservations.get(order_id),
                    word,
                    free=shelf.free,
                    low_threshold=self.low_threshold,
                )
                if decision is None:
                    return False
                shelf.apply(decision, word.reason if isinstance(word, Heard) else "declined")
                for message in decision.announce:
                    sequence = None if isinstance(message, StockLow) else decision.reservation.version
                    tx.announce(message, sequence=sequence)
                return True
            case Again() | None:
                return False


async def _open(connection: Connection, words: Sequence[tuple[UUID, Word | None]]) -> Shelf:
    """Lock what `words` are about: the reservations in the order of their orders, then the stock in that of SKUs."""
    order_ids = {order_id for order_id, _ in words}
    # A word about money makes a reservation of every order; the others leave none behind.
    made = {order_id for order_id, word in words if isinstance(word, Heard)}
    reservations = await store.lock_reservations(connection, order_ids, made=made)
    skus = {line.sku for reservation in reservations.values() for line in reservation.lines}
    skus |= {line.sku for _, word in words if isinstance(word, Heard | CameBack | Again) for line in word.lines}
    shipments = [word.shipment_id for _, word in words if isinstance(word, CameBack)]
    return Shelf(
        reservations,
        free={row.sku: row.available for row in await store.lock_stock(connection, list(skus))} if skus else {},
        returned=await store.list_returned(connection, shipments) if shipments else set(),
    )


async def _save(connection: Connection, shelf: Shelf) -> None:
    if shelf.changed:
        await store.save_reservations(connection, [shelf.reservations[order_id] for order_id in shelf.changed])
    if shelf.lined:
        await store.insert_lines(connection, [shelf.reservations[order_id] for order_id in shelf.lined])
    if shelf.steps:
        await store.insert_transitions(connection, shelf.steps)
        for step in shelf.steps:
            metrics.RESERVATIONS.labels(step.after.value).inc()
    if shelf.restocks:
        await store.insert_restocks(connection, shelf.restocks)
        restocked = {restock.order_id for restock in shelf.restocks}
        await store.save_restocked(connection, [shelf.reservations[order_id] for order_id in restocked])
    if shelf.moved:
        await store.move_stock(connection, shelf.moved)


def _word(message: Message) -> Word | None:
    """What a message says about the stock of its order; None: nothing."""
    match message:
        case checkout.OrderPaid():
            return Heard(Standing.PAID, "paid", _goods(message.lines))
        case checkout.OrderProcessing():
            return Heard(Standing.PROCESSING, "processing", _goods(message.lines))
        case checkout.OrderPaymentFailed() | checkout.OrderPaymentRetrying():
            return _failure(message)
        case checkout.OrderExpired():
            return Heard(Standing.ENDED, "expired")
        case checkout.OrderCanceled():
            # For good: money that comes for a canceled order goes back, so none of its goods wait for it.
            return Heard(Standing.FAILED, "canceled")
        case fulfillment.ShipmentCanceled() | fulfillment.ShipmentReturned():
            return CameBack(message.shipment_id, message.TYPE, _lines(message.lines))
        case _:
            assert_never(message)


def _failure(message: checkout.OrderPaymentFailed | checkout.OrderPaymentRetrying) -> Word | None:
    if isinstance(message, checkout.OrderPaymentRetrying):
        # Until it is charged again others may buy: then it is held anew, if it is still there.
        return Heard(Standing.ENDED, "payment_retrying", attempt=message.attempt)
    if message.final:
        return Heard(Standing.FAILED, "payment_failed")
    if message.abandoned:
        return Heard(Standing.ENDED, "abandoned")
    return Declined(message.hold_until) if message.hold_until is not None else None


def _goods(lines: Sequence[checkout.Line]) -> tuple[Line, ...]:
    return decide.merged([Line(*goods) for line in lines for goods in line.goods()])


def _lines(lines: Sequence[StockLine]) -> tuple[Line, ...]:
    return decide.merged([Line(line.sku, line.quantity) for line in lines])
