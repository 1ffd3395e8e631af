"""What refunds come to in a time, by who or what they have to do with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from refunds.model.patterns import Rate, Reason


class Grouping(StrEnum):
    """By what requests are put together. A product has the requests that name lines of it."""

    OPERATOR = "operator"
    CUSTOMER = "customer"
    PRODUCT = "product"
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` on, before `until`."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Top:
    """One of the most suspicious requests of a group."""

    refund_id: UUID
    order_id: UUID
    score: int
    score_reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that belong together. `sums` by currency, in minor units, of what was not refused and did not fail, of a
    product without shipping; `rate`: the orders that they are about against those that were paid: of the buyer, with
    the product, or of the shop. `second_person`: those that waited for one; `suspicious`: for their score; `tops`: the
    three most suspicious."""

    name: str
    requests: int
    sums: Mapping[str, int]
    rate: Rate
    second_person: int
    suspicious: int
    rejected: int
    failed: int
    tops: tuple[UUID, ...]
    marks: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The groups, those that are marked first, with the most suspicious requests of each. `more`: there are others."""

    window: Window
    by: Grouping
    shop: Rate
    groups: tuple[Group, ...]
    more: bool
    tops: Mapping[UUID, Top]
