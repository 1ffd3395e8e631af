"""What operators are shown, as JSON."""

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from operations.model.bulks import Act, BulkState
from operations.model.letters import Group, Listed, Status
from operations.model.replays import Outcome

Count = Annotated[int, Field(ge=0)]
Json = dict[str, Any]  # Any: JSON


class Counted(TypedDict):
    """How many dead letters are alike, and when the first and the last of them failed."""

    service: str
    type: str
    reason: str
    status: Status
    messages: Count
    oldest: datetime
    newest: datetime


class Summary(TypedDict):
    """Counts by service, type, reason and status."""

    summary: list[Counted]


class Groups(TypedDict):
    """What is unsettled, the largest group first."""

    groups: list[Group]


class Letters(TypedDict):
    """Dead letters, the latest failures first."""

    dead_letters: list[Listed]


class Exported(TypedDict):
    """A dead letter, whole but for what is secret, such as the client secrets of Stripe's objects: that is shown as
    `[redacted]`. `body_base64` is there when the body is no text: `body` has then lost something."""

    id: UUID
    message_id: str
    service: str
    queue: str
    type: str
    correlation_id: str | None
    status: Status
    reason: str
    fingerprint: str
    exception_type: str | None
    exception_message: str | None
    handler: str | None
    attempts: int
    failures: int
    first_failed_at: datetime | None
    last_failed_at: datetime
    stack: str | None
    headers: Json
    body: str
    body_base64: NotRequired[str]


class Failure(TypedDict):
    """One failure of a message. `body` is there when it was not the dead letter's own."""

    failed_at: datetime
    reason: str
    exception_type: str | None
    exception_message: str | None
    replay_id: UUID | None
    body: str | None


class Replay(TypedDict):
    """One way back of a message. Without an outcome nobody has told yet how it ended."""

    id: UUID
    bulk_id: UUID | None
    edited: bool
    made_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None
    outcome: Outcome | None


class Audited(TypedDict):
    """What somebody did to a dead letter, and why."""

    action: str
    actor: str
    reason: str
    replay_id: UUID | None
    bulk_id: UUID | None
    detail: Json | None
    at: datetime


class Letter(Exported):
    """A dead letter with all that happened to it. `trace_id` is that of the trace in which its message was said.
    `answer` is how its service answered the replay that resolved it, null while it is not resolved: what was `refused`
    took no effect."""

    trace_id: str
    answer: Literal["applied", "duplicate", "refused"] | None
    replay_id: UUID | None
    lease_until: datetime | None
    settled_at: datetime | None
    archived_at: datetime | None
    attempts_made: list[Failure]
    replays: list[Replay]
    audit: list[Audited]


class Archived(TypedDict):
    """How many dead letters were moved."""

    dead_letters: Count


class Page(TypedDict):
    """Whole dead letters in the order of their ids. `next` is null on the last page."""

    dead_letters: list[Exported]
    next: UUID | None


class BulkListed(TypedDict):
    """What an operator asked for, and where it stands."""

    id: UUID
    act: Act
    state: BulkState
    state_reason: str | None
    actor: str
    reason: str
    filter: Json
    rate: float
    force: bool
    total: Count
    cutoff: datetime
    paused_at: datetime | None
    finished_at: datetime | None


class Bulks(TypedDict):
    """The latest bulks."""

    bulks: list[BulkListed]


class FailedAgain(TypedDict):
    """How many replays of a bulk failed in one way."""

    fingerprint: str | None
    messages: Count


class BulkAudited(TypedDict):
    """What somebody did to a bulk, and why."""

    action: str
    actor: str
    reason: str
    detail: Json | None
    at: datetime


ItemState = Literal[
    "waiting", "on_the_way", "resolved", "refused", "failed", "unknown", "skipped", "canceled", "discarded", "archived"
]


class Bulk(BulkListed):
    """A bulk and how far it is: its messages by state, what failed again, and what people did to it."""

    counts: dict[ItemState, Count]
    failures: list[FailedAgain]
    audit: list[BulkAudited]


class Preview(TypedDict):
    """What a bulk would take at this moment: of all that match as many as its limit allows."""

    matching: Count
    taken: Count
    ids: list[UUID]


class Replayed(TypedDict):
    """The message is on its way back."""

    replay_id: UUID


Changed = TypedDict("Changed", {"pointer": str, "from": Any, "to": Any})  # Any: JSON; `from` is a keyword


class Changes(TypedDict):
    """What an edit would change."""

    changes: list[Changed]


class Edited(TypedDict):
    """The copy is on its way in place of its original."""

    replay_id: UUID
    changes: list[Changed]


class Said(TypedDict):
    """One message about the order `order_id`. One that names another, or none, is there as the cause of others."""

    message_id: UUID
    order_id: str | None
    type: str
    source: str
    subject: str
    causation_id: str | None
    time: datetime
    data: Json


class DeadLetterOfOrder(TypedDict):
    """A dead letter about an order."""

    id: UUID
    service: str
    type: str
    status: Status
    reason: str
    last_failed_at: datetime


class Timeline(TypedDict):
    """Everything said about an order, in order, and what of it failed."""

    order_id: Annotated[str, Field(pattern=r"^ord_[0-9a-f]{32}$")]
    messages: list[Said]
    dead_letters: list[DeadLetterOfOrder]
