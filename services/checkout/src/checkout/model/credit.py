"""Store credit: what a customer was given, and what his orders use of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID


class CreditState(StrEnum):
    """What has become of an order's use of store credit. What is released is its owner's again."""

    RESERVED = "reserved"
    SPENT = "spent"
    RELEASED = "released"


class CreditSource(StrEnum):
    """Who gave it: a person, or a refund."""

    ADMIN = "admin"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Grant:
    """Credit that a customer was given, in minor units. `expires_at` None: it never does; from then on nothing of it
    can be reserved. `expired_minor` is what was left of it then. `reference` tells one of its source from the others:
    given again, it is the same grant. `note` is for staff."""

    id: UUID
    customer_subject: str
    currency: str
    amount_minor: int
    expires_at: datetime | None
    source: CreditSource
    reference: str
    note: str
    granted_by: str
    created_at: datetime
    reserved_minor: int = 0
    spent_minor: int = 0
    expired_minor: int = 0

    @property
    def left_minor(self) -> int:
        """What no order uses and did not expire."""
        return self.amount_minor - self.reserved_minor - self.spent_minor - self.expired_minor

    def free_minor(self, now: datetime) -> int:
        """What an order may reserve at `now`."""
        return self.left_minor if self.expires_at is None or now < self.expires_at else 0


@dataclass(frozen=True, slots=True)
class GrantLimits:
    """What one administrator may give by himself, by currency in minor units: with one grant, and with all within a
    day. In a currency without a limit he may give nothing."""

    per_grant: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    per_admin_day: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


NOTHING_TO_GIVE: Final = GrantLimits()


@dataclass(frozen=True, slots=True)
class CreditUse:
    """What one order uses of one grant."""

    order_id: UUID
    grant_id: UUID
    amount_minor: int
    state: CreditState


@dataclass(frozen=True, slots=True)
class CreditEntry:
    """A line of a customer's statement: `granted`, `reserved`, `spent`, `released` or `expired`. What he may use grows
    by what is granted and released, and falls by what is reserved and expires; what is spent was reserved before."""

    kind: str
    grant_id: UUID
    order_id: UUID | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class EntryShown:
    """A line of a statement as it is kept."""

    id: UUID
    kind: str
    currency: str
    amount_minor: int
    grant_id: UUID
    order_id: UUID | None
    source: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Balance:
    """A customer's credit in one currency: what he may use, and what his open orders keep. `expiring_minor` of it is
    lost at `expires_at`, the next time that any is; both are None when none ever is."""

    currency: str
    available_minor: int
    reserved_minor: int
    expiring_minor: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """Grants and uses of some customers, locked; and what was entered since."""

    grants: Mapping[UUID, Grant] = field(default_factory=lambda: MappingProxyType({}))
    uses: Mapping[tuple[UUID, UUID], CreditUse] = field(default_factory=lambda: MappingProxyType({}))
    entries: tuple[CreditEntry, ...] = ()


EMPTY_BOOK: Final = Book()
