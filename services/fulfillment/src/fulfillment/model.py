"""Facts of fulfillment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from uuid import UUID


class ShipmentState(StrEnum):
    """Where the parcel is."""

    CREATED = "created"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELED = "canceled"
    RETURNED = "returned"


class RefundRank(IntEnum):
    """What is known of a refund; a higher rank is never undone by a lower one."""

    APPROVED = 1
    SUCCEEDED = 2
    OVER = 3  # failed, rejected or canceled: the money stays, or came back


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity of one SKU."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class RefundFact:
    """One refund, as far as goods are concerned. `whole`: it pays back the entire order."""

    rank: RefundRank
    whole: bool


@dataclass(frozen=True, slots=True)
class Address:
    """Where to send it, as it was given with the payment."""

    fields: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """The set of facts about one order. `lines` None: not paid yet, as far as we know."""

    order_id: UUID
    lines: tuple[Line, ...] | None = None
    total_minor: int | None = None
    stock_committed: bool = False
    held_at: datetime | None = None
    unheld_at: datetime | None = None
    refunds: Mapping[str, RefundFact] = field(default_factory=dict)
    address: Mapping[str, str | None] | None = None
    customer: Mapping[str, str | None] | None = None

    @property
    def held(self) -> bool:
        """Whether the last word about the order was to hold it."""
        return self.held_at is not None and (self.unheld_at is None or self.held_at > self.unheld_at)


@dataclass(frozen=True, slots=True)
class Shipment:
    """One parcel."""

    id: UUID
    order_id: UUID
    state: ShipmentState
    lines: tuple[Line, ...]
    carrier: str | None = None
    tracking_number: str | None = None
