"""What people, the system or Stripe's dashboard asked to give back."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from refunds.model.bills import Sum
from refunds.model.patterns import Reason as Suspected
from refunds.model.refunds import State


class Origin(StrEnum):
    """Where a request came from: `stripe` is its dashboard."""

    PERSON = "person"
    SYSTEM = "system"
    STRIPE = "stripe"


class Reason(StrEnum):
    """Why people give money back. The system's own reasons, such as `shortfall`, stand beside them."""

    REQUESTED_BY_CUSTOMER = "requested_by_customer"
    RETURNED = "returned"
    DAMAGED = "damaged"
    NOT_RECEIVED = "not_received"
    WRONG_ITEM = "wrong_item"
    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"
    GOODWILL = "goodwill"


class Destination(StrEnum):
    """Where the money goes."""

    ORIGINAL = "original"
    STORE_CREDIT = "store_credit"


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts: the subject of a token, and the e-mail address in it."""

    subject: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One wish, paid back by one refund for each tender. `needs`: why a second person had to agree; `decided_by` is he,
    or the policy. `score`: how suspicious it was when it was made, from 0 to 100, for `score_reasons`. `version` counts
    what happened to it."""

    id: UUID
    order_id: UUID
    currency: str
    amount_minor: int
    sum: Sum
    destination: Destination
    reason: str
    note: str
    origin: Origin
    requester: Person
    needs: tuple[str, ...] = ()
    score: int = 0
    decided_by: Person | None = None
    decision_note: str = ""
    rules_version: int = 0
    version: int = 1
    created_at: datetime | None = None
    score_reasons: tuple[Suspected, ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Which requests to list: those after the request `after`, narrowed by what is given."""

    after: UUID | None = None
    order_id: UUID | None = None
    state: State | None = None
    requester: str | None = None
    origin: Origin | None = None
