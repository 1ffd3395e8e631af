"""Facts of inventory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from payments_shared.errors import Refused


class State(StrEnum):
    """What is promised to an order. `closed`: ended before any hold; `shortfall`: paid and not to be had."""

    HELD = "held"
    COMMITTED = "committed"
    RELEASED = "released"
    CLOSED = "closed"
    SHORTFALL = "shortfall"


class Standing(StrEnum):
    """The strongest word heard about the money of an order, weakest first."""

    OPEN = "open"  # nothing yet
    ENDED = "ended"  # expired, abandoned, or long past its deadline
    PROCESSING = "processing"  # the buyer finished, the money is on its way
    FAILED = "failed"  # that money failed for good, or goes back since the order was canceled
    PAID = "paid"

    @property
    def rank(self) -> int:
        """A word of a lower rank never undoes one of a higher."""
        return _RANKS[self]


_RANKS = {standing: rank for rank, standing in enumerate(Standing)}


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity of one SKU."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is promised to one order. `lines` are sorted by SKU and never change once there are any.

    `expires_at` is there exactly while nothing was heard about the money. `version` counts changes, from 1.
    `restocked` is what of the lines came back, by SKU. `attempt` counts how often they were held anew, from 0.
    """

    order_id: UUID
    state: State
    standing: Standing
    expires_at: datetime | None = None
    version: int = 1
    lines: tuple[Line, ...] = ()
    restocked: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a reservation's history. `before` None: the order was not known."""

    order_id: UUID
    before: State | None
    after: State
    reason: str


@dataclass(frozen=True, slots=True)
class Restock:
    """The goods of one shipment came back."""

    shipment_id: UUID
    order_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Stock:
    """All units of a SKU: `available + held + committed = total`."""

    sku: str
    total: int
    available: int
    held: int
    committed: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A line that cannot be had."""

    sku: str
    quantity: int
    available: int


class OutOfStock(Refused):
    """Some lines cannot be had; `available` says how much of each there is."""

    def __init__(self, missing: Sequence[Missing]) -> None:
        rows = [{"sku": m.sku, "requested": m.quantity, "available": m.available} for m in missing]
        super().__init__("out_of_stock", "Some articles are not available.", extra={"available": rows})
        self.missing = tuple(missing)


class ReservationClosed(Refused):
    """The order has ended, perhaps before its hold arrived; nothing will be held for it."""

    def __init__(self) -> None:
        super().__init__("reservation_closed", "The order has ended.")


class ReservationDiffers(Refused):
    """The order has a reservation of other lines."""

    def __init__(self) -> None:
        super().__init__("reservation_differs", "The order has reserved other lines than these.")


class BelowPromised(Refused):
    """A total cannot be less than what is held and sold."""

    def __init__(self, stock: Stock) -> None:
        promised = {"held": stock.held, "committed": stock.committed}
        super().__init__("below_promised", "More than this is held or sold already.", extra=promised)
