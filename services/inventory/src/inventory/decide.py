"""The life of a reservation. Pure: what is there, what was heard, what is free in; what must be true out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from inventory.model import (
    Line,
    Missing,
    OutOfStock,
    Reservation,
    ReservationClosed,
    ReservationDiffers,
    Standing,
    State,
)
from payments_shared.contracts.inventory import (
    MissingLine,
    StockCommitted,
    StockLine,
    StockLow,
    StockReleased,
    StockShortfall,
)
from payments_shared.contracts.message import Message
from payments_shared.errors import Poison


class Move(Enum):
    """The change of (available, held, committed) per unit."""

    NONE = (0, 0, 0)
    HOLD = (-1, +1, 0)
    COMMIT_HELD = (0, -1, +1)
    COMMIT_FREE = (-1, 0, +1)
    RELEASE = (+1, -1, 0)
    RESTOCK = (+1, 0, -1)


@dataclass(frozen=True, slots=True)
class Arrow:
    """Where a stronger word leads; `without_stock` when it has to take stock and there is too little."""

    to: State
    without_stock: State | None = None


ARROWS: Final[Mapping[State | None, Mapping[Standing, Arrow]]] = MappingProxyType(
    {
        None: MappingProxyType(
            {
                Standing.ENDED: Arrow(State.CLOSED),  # the tombstone: a hold still under way must find it
                Standing.PROCESSING: Arrow(State.HELD, without_stock=State.CLOSED),
                Standing.FAILED: Arrow(State.CLOSED),
                Standing.PAID: Arrow(State.COMMITTED, without_stock=State.SHORTFALL),
            }
        ),
        State.HELD: MappingProxyType(
            {
                Standing.ENDED: Arrow(State.RELEASED),
                Standing.PROCESSING: Arrow(State.HELD),  # from now on without a deadline
                Standing.FAILED: Arrow(State.RELEASED),
                Standing.PAID: Arrow(State.COMMITTED),
            }
        ),
        State.RELEASED: MappingProxyType(
            {
                Standing.PROCESSING: Arrow(State.HELD, without_stock=State.RELEASED),
                Standing.FAILED: Arrow(State.RELEASED),
                Standing.PAID: Arrow(State.COMMITTED, without_stock=State.SHORTFALL),
            }
        ),
        State.CLOSED: MappingProxyType(
            {
                Standing.PROCESSING: Arrow(State.HELD, without_stock=State.CLOSED),
                Standing.FAILED: Arrow(State.CLOSED),
                Standing.PAID: Arrow(State.COMMITTED, without_stock=State.SHORTFALL),
            }
        ),
        State.COMMITTED: MappingProxyType({}),  # nothing outranks paid; goods come back by shipments alone
        State.SHORTFALL: MappingProxyType({}),  # the money is on its way back: stock that turns up is for others
    }
)
"""None is an order that was never heard of. A word that is not stronger than the standing changes nothing."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A word about an order's money. `lines` are empty where the message does not carry them. `attempt`: it is about
    this attempt to charge the order, and not about later ones."""

    standing: Standing
    reason: str
    lines: tuple[Line, ...] = ()
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """A card was declined while the session is open: the hold ends at `hold_until`, unless earlier."""

    hold_until: datetime


@dataclass(frozen=True, slots=True)
class Again:
    """The order is to be charged once more: its stock is held anew until `expires_at`, if it is there."""

    attempt: int
    lines: tuple[Line, ...]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CameBack:
    """The goods of a shipment are back, because of `reason`. No refund brings any: they may be on their way."""

    shipment_id: UUID
    reason: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What must become true. `move` moves the reservation's lines."""

    reservation: Reservation
    move: Move = Move.NONE
    announce: tuple[Message, ...] = ()


def step(
    order_id: UUID,
    current: Reservation | None,
    received: Heard | Declined,
    *,
    free: Mapping[str, int],
    low_threshold: int,
) -> Decision | None:
    """Advance the reservation of an order by one word; None when that changes nothing.

    `free` is what is available of each SKU of the order, its own lines' and the word's. Words may come in any order and
    any number of times: the strongest decides, and one that is not stronger than those before changes nothing.

    Raises:
        Poison: the word speaks of other lines than those reserved.
    """
    match received:
        case Declined(hold_until=hold_until):
            return _shortened(current, hold_until)
        case Heard():
            if not _stronger(current, received):
                return None
            return _heard(order_id, current, received, free, low_threshold)


def _lines(current: Reservation | None, heard: Heard) -> tuple[Line, ...]:
    return (current.lines if current else ()) or heard.lines


def _stronger(current: Reservation | None, heard: Heard) -> bool:
    if current is not None and heard.attempt is not None and heard.attempt < current.attempt:
        return False  # it speaks of an attempt that is over, and for a later one the stock is held
    return current is None or heard.standing.rank > current.standing.rank


def _shortened(current: Reservation | None, hold_until: datetime) -> Decision | None:
    if current is None or current.expires_at is None or current.expires_at <= hold_until:
        return None
    return Decision(replace(current, expires_at=hold_until, version=current.version + 1))


def _heard(
    order_id: UUID, current: Reservation | None, heard: Heard, free: Mapping[str, int], low_threshold: int
) -> Decision:
    before = current.state if current else None
    lines = _lines(current, heard)
    if heard.lines and heard.lines != lines:
        raise Poison("lines_differ", "The order speaks of other lines than those reserved for it.")
    missing = missing_of(lines, free)
    arrow = ARROWS[before][heard.standing]
    lacking = bool(missing) or (not lines and heard.standing is Standing.PROCESSING)
    after = arrow.without_stock if arrow.without_stock and lacking else arrow.to
    version, attempt = (current.version + 1, current.attempt) if current else (1, 0)
    reservation = Reservation(order_id, after, heard.standing, None, version, lines, attempt=attempt)
    move = move_between(before, after)
    return Decision(
        reservation,
        move=move,
        announce=(
            *_said(reservation, move, heard.reason, missing),
            *low_stock(lines, free, move, low_threshold),
        ),
    )


def hold_again(
    current: Reservation | None, wanted: Again, *, free: Mapping[str, int], low_threshold: int
) -> Decision | None:
    """Hold the lines of a reservation for another attempt; None when a later one was held already.

    Raises:
        ReservationClosed: the order has ended, or was never held.
        ReservationDiffers: it is a reservation of other lines.
        OutOfStock: what was given back meanwhile is not there any more.
    """
    if current is None or current.standing.rank > Standing.ENDED.rank or current.state is State.CLOSED:
        raise ReservationClosed
    if current.lines != wanted.lines:
        raise ReservationDiffers
    if current.attempt > wanted.attempt:
        return None
    held = current.state is State.HELD
    missing = () if held else missing_of(wanted.lines, free)
    if missing:
        raise OutOfStock(missing)
    move = Move.NONE if held else Move.HOLD
    reservation = replace(
        current,
        state=State.HELD,
        standing=Standing.OPEN,
        expires_at=wanted.expires_at,
        version=current.version + 1,
        attempt=wanted.attempt,
    )
    return Decision(reservation, move=move, announce=low_stock(wanted.lines, free, move, low_threshold))


def put_back(current: Reservation | None, back: CameBack) -> Reservation:
    """The reservation once the goods of one shipment of it are on the shelf again.

    Raises:
        Poison: the order was never sold that much.
    """
    if current is None or current.state is not State.COMMITTED:
        raise Poison("nothing_sold", "Goods came back of an order that was sold none.")
    sold = {line.sku: line.quantity for line in current.lines}
    restocked = dict(current.restocked)
    for line in back.lines:
        restocked[line.sku] = restocked.get(line.sku, 0) + line.quantity
        if restocked[line.sku] > sold.get(line.sku, 0):
            raise Poison("more_than_sold", "More came back than the order was sold.")
    return replace(current, restocked=MappingProxyType(restocked))


def move_between(before: State | None, after: State) -> Move:
    """How the units of the lines move when a reservation goes from `before` to `after`."""
    match before, after:
        case State.HELD, State.COMMITTED:
            return Move.COMMIT_HELD
        case State.HELD, State.RELEASED:
            return Move.RELEASE
        case None | State.RELEASED | State.CLOSED, State.COMMITTED:
            return Move.COMMIT_FREE
        case None | State.RELEASED | State.CLOSED, State.HELD:
            return Move.HOLD
        case _:
            return Move.NONE


def _said(reservation: Reservation, move: Move, reason: str, missing: Sequence[Missing]) -> tuple[Message, ...]:
    order_id = reservation.order_id
    lines = tuple(StockLine(sku=line.sku, quantity=line.quantity) for line in reservation.lines)
    if reservation.state is State.COMMITTED:
        return (StockCommitted(order_id=order_id, lines=lines),)
    if reservation.state is State.SHORTFALL:
        rows = tuple(MissingLine(sku=m.sku, quantity=m.quantity, available=m.available) for m in missing)
        return (StockShortfall(order_id=order_id, missing=rows),)
    if move is Move.RELEASE:
        return (StockReleased(order_id=order_id, lines=lines, reason=reason),)
    return ()


def answer_hold(current: Reservation, wanted: Sequence[Line]) -> State:
    """The state to answer when a hold finds that the order has a reservation already.

    Raises:
        ReservationClosed: the order has ended.
        ReservationDiffers: it is a reservation of other lines.
    """
    if current.state not in (State.HELD, State.COMMITTED):
        raise ReservationClosed
    if current.lines != tuple(wanted):
        raise ReservationDiffers
    return current.state


def missing_of(lines: Sequence[Line], free: Mapping[str, int]) -> tuple[Missing, ...]:
    """The lines that cannot be served whole; an unknown SKU has nothing."""
    return tuple(
        Missing(line.sku, line.quantity, free.get(line.sku, 0))
        for line in lines
        if free.get(line.sku, 0) < line.quantity
    )


def merged(lines: Sequence[Line]) -> tuple[Line, ...]:
    """One line per SKU, in the order in which stock is locked."""
    totals: dict[str, int] = {}
    for line in lines:
        totals[line.sku] = totals.get(line.sku, 0) + line.quantity
    return tuple(Line(sku, totals[sku]) for sku in sorted(totals))


def low_stock(
    lines: Sequence[Line], free_before: Mapping[str, int], move: Move, threshold: int
) -> tuple[StockLow, ...]:
    """The warnings for SKUs that `move` takes from above `threshold` to it or below."""
    per_unit = move.value[0]
    if per_unit >= 0:
        return ()
    after = {line.sku: free_before.get(line.sku, 0) + per_unit * line.quantity for line in lines}
    return tuple(
        StockLow(sku=sku, available=available, threshold=threshold)
        for sku, available in after.items()
        if crossed_low(free_before.get(sku, 0), available, threshold)
    )


def crossed_low(before: int, after: int, threshold: int) -> bool:
    """Whether a SKU fell to its threshold by this change; it warns again only after it was above it."""
    return after <= threshold < before
