"""Facts about events as they arrive."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class State(StrEnum):
    """What an event is to us. `dead` is signed by Stripe and yet unusable: a person must look."""

    PROCESSED = "processed"
    IGNORED = "ignored"
    DEAD = "dead"


class Outcome(StrEnum):
    """What an arrival is counted as. The last three are Stripe's and readable, and yet not what we set up: a person
    must look at the endpoint or at who holds its secret."""

    PROCESSED = "processed"
    IGNORED = "ignored"
    DEAD = "dead"
    DUPLICATE = "duplicate"
    WRONG_MODE = "wrong_mode"
    FOREIGN_ACCOUNT = "foreign_account"
    OTHER_VERSION = "other_version"


class Rejection(StrEnum):
    """Why a request is not Stripe's. Callers learn none of these."""

    HEADER = "header"
    SIGNATURE = "signature"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class Secret:
    """A signing secret. `not_after` ends its validity while secrets are being exchanged."""

    value: bytes
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Which events are ours: the mode of this deployment and the accounts it serves (None: our own account only).

    `api_version` is the one our readers were written for. Events of another are taken all the same, and counted.
    """

    livemode: bool
    api_version: str
    accounts: frozenset[str | None]
    heard: frozenset[str]


class Event(NamedTuple):
    """One event, classified. `order_id` is the order it names, in external form, if it names one.

    A tuple, because one is made for every event. Its texts but `account` and `api_version` hold no control character.
    """

    event_id: str
    day: date
    type: str
    state: State
    raw: bytes
    reason: str | None = None
    object_id: str | None = None
    livemode: bool | None = None
    account: str | None = None
    api_version: str | None = None
    created: datetime | None = None
    partition_key: str = "unkeyed"
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """An event as it is kept. `source` is how it came: `webhook` or `pull`."""

    day: date
    event_id: str
    type: str
    object_id: str | None
    livemode: bool | None
    account: str | None
    api_version: str | None
    state: str
    reason: str | None
    source: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """The message of an event: published at that time, or None while it waits for the broker, which failed `attempts`
    times. `correlation_id` is the order that it is about."""

    message_id: UUID
    correlation_id: str | None
    published_at: datetime | None
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Resend:
    """Somebody handed an event to the broker again."""

    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a day to list: those behind `before` and, of the same moment, `before_id`."""

    day: date
    type: str | None
    state: str | None
    named: str | None
    before: datetime
    before_id: str


class Span(NamedTuple):
    """Events created from `since` on and before `until`."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Looked:
    """Stripe's list was looked through up to what was created before `until`. `now` is business time like that;
    `ended_ago`, of real time, is how long ago a look came to its end, None: none has."""

    now: datetime
    until: datetime
    ended_ago: timedelta | None
