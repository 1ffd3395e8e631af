"""Facts of fulfillment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from payments_shared.errors import Refused


class ShipmentState(StrEnum):
    """Where the parcel is."""

    CREATED = "created"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELED = "canceled"
    RETURNED = "returned"


class Verdict(StrEnum):
    """What was said of a refund."""

    APPROVED = "approved"
    REJECTED = "rejected"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity of one SKU."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund and everything said of it, in no order. Without `lines` it is about an amount alone. What of them is
    `unsellable` does not return to the shelf: it is broken, or its buyer keeps it."""

    refund_id: UUID
    payment_intent: str
    amount_minor: int
    reason: str
    lines: tuple[Line, ...]
    verdicts: frozenset[Verdict]
    unsellable: tuple[Line, ...] = ()

    @property
    def over(self) -> bool:
        """The money stays with us, or came back: even a refund that had succeeded can still fail."""
        return not self.verdicts.isdisjoint({Verdict.REJECTED, Verdict.FAILED, Verdict.CANCELED})

    @property
    def succeeded(self) -> bool:
        """The money is back with the buyer."""
        return Verdict.SUCCEEDED in self.verdicts and not self.over

    @property
    def under_way(self) -> bool:
        """The money is about to leave."""
        return Verdict.APPROVED in self.verdicts and not self.succeeded and not self.over


class Outcome(StrEnum):
    """What was said of a dispute."""

    OPENED = "opened"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Dispute:
    """The newest word about one dispute or inquiry: the one with the highest `version`."""

    dispute_id: str
    payment_intent: str
    version: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Goods:
    """What was paid for: what to send, where, to whom, and which way. `lines` are sorted by SKU, one each, and so is
    what is `digital`, which is not sent. `way` is the `code` and `name` of the way to ship that the buyer chose; None:
    there was none to choose.
    """

    lines: tuple[Line, ...]
    total_minor: int
    payment_intents: frozenset[str]
    address: Mapping[str, str | None] | None
    customer: Mapping[str, str | None]
    way: Mapping[str, str] | None = None
    digital: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """The set of facts about one order. `goods` None: not paid yet, as far as we know. It is held for causes, each of
    which ends on its own, or without one, where the later word counts. `digital_delivered`: its digital goods are its
    buyer's, which nothing undoes."""

    order_id: UUID
    goods: Goods | None = None
    stock_committed: bool = False
    held_at: datetime | None = None
    unheld_at: datetime | None = None
    held_for: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()
    refunds: Mapping[UUID, Refund] = field(default_factory=lambda: MappingProxyType({}))
    digital_delivered: bool = False
    disputes: Mapping[str, Dispute] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def held(self) -> bool:
        """Whether a cause to hold it is not over, or the last word without one was to hold it."""
        if self.held_for - self.over:
            return True
        return self.held_at is not None and (self.unheld_at is None or self.held_at > self.unheld_at)


@dataclass(frozen=True, slots=True)
class Shipment:
    """One parcel, or lines that were taken out of one before it left. `version` counts changes, from 1."""

    id: UUID
    order_id: UUID
    state: ShipmentState
    lines: tuple[Line, ...]
    carrier: str | None = None
    tracking_number: str | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a shipment's history. `before` None: it is new."""

    shipment_id: UUID
    before: ShipmentState | None
    after: ShipmentState
    reason: str


class ShipmentNotFound(Refused):
    """No such shipment."""

    def __init__(self) -> None:
        super().__init__("shipment_not_found", "There is no such shipment.", status=404)


class ShipmentHeld(Refused):
    """The order is held or disputed, or its money is on its way back: nothing leaves the house."""

    def __init__(self) -> None:
        super().__init__("shipment_held", "The order is held or disputed, or a refund of it is under way.")


class IllegalStep(Refused):
    """The parcel is not where this could happen to it."""

    def __init__(self, state: ShipmentState, step: str) -> None:
        super().__init__("illegal_step", f"A shipment that is {state} cannot be {step}.")
