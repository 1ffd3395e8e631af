"""Facts of operations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal
from uuid import UUID

Act = Literal["replay", "discard", "archive"]
ANYTHING_MAX = 10_000  # what one bulk takes


class Status(StrEnum):
    """Of a dead letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


class Outcome(StrEnum):
    """Of a replay. The first three are told by the service, in the transaction of its inbox."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNSENT = "unsent"


class BulkState(StrEnum):
    """`done` once nothing waits and nothing is on the way."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELED = "canceled"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it came: who failed, why, and the message untouched.

    `replay_id` is the replay that brought the message back before it failed again, if one did.
    """

    id: UUID
    message_id: str
    service: str
    queue: str
    type: str
    correlation_id: str | None
    reason: str
    fingerprint: str
    exception_type: str | None
    exception_message: str | None
    handler: str | None
    stack: str | None
    attempts: int
    first_failed_at: datetime | None
    last_failed_at: datetime
    headers: Mapping[str, Any]  # Any: AMQP table values made JSON
    body: bytes
    replay_id: UUID | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a dead letter stands that is known already."""

    id: UUID
    status: Status
    replay_id: UUID | None
    settled_at: datetime | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """A dead letter in a list."""

    id: UUID
    message_id: str
    service: str
    queue: str
    type: str
    correlation_id: str | None
    status: str
    reason: str
    fingerprint: str
    exception_type: str | None
    exception_message: str | None
    handler: str | None
    attempts: int
    failures: int
    first_failed_at: datetime | None
    last_failed_at: datetime
    archived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters of one service and type that failed in one way."""

    service: str
    type: str
    fingerprint: str
    reason: str
    exception_type: str | None
    exception_message: str | None  # of the latest
    open: int
    replaying: int
    first_failed_at: datetime
    last_failed_at: datetime


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What a service could not handle and nobody has settled. Times are of the latest failures."""

    service: str
    open: int
    replaying: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters; None means any. Ages are of the latest failure."""

    service: str | None = None
    type: str | None = None
    status: str | None = None
    fingerprint: str | None = None
    older_than_seconds: float | None = None
    newer_than_seconds: float | None = None
    ids: tuple[UUID, ...] | None = None
    archived: bool | None = None

    @property
    def narrows(self) -> bool:
        """Whether it names anything: who acts upon everything has to say so in some way."""
        ages = (self.older_than_seconds, self.newer_than_seconds)
        named = (self.service, self.type, self.status, self.fingerprint, *ages, self.ids)
        return any(value is not None for value in named)


@dataclass(frozen=True, slots=True)
class Instruction:
    """What an operator asked for: who, why, and how fast (replays a second for each service).

    `force`: discard also what may still take effect, as its last replay was sent and nobody told how it ended.
    """

    act: Act
    wanted: Filter
    limit: int
    rate: float
    force: bool
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Running:
    """A bulk that the worker goes on with."""

    id: UUID
    act: Act
    actor: str
    reason: str
    rate: float
    force: bool
    cutoff: datetime
    by_ids: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay to be sent. `body` is the edited copy's, or the dead letter's own."""

    id: UUID
    dead_letter_id: UUID
    bulk_id: UUID | None
    message_id: str
    queue: str
    type: str
    correlation_id: str | None
    headers: Mapping[str, Any]  # Any: AMQP table values made JSON
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """How one of a bulk's latest replays ended; `fingerprint` is that of a new failure."""

    outcome: str
    fingerprint: str | None


class Role(StrEnum):
    """What a person may do at the console. All of them look; operators act, approvers decide about refunds that others
    ask for."""

    OPERATOR = "operator"
    APPROVER = "approver"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in. `subject` is what the audit writes down."""

    subject: str
    name: str
    roles: frozenset[Role]

    @property
    def acts(self) -> bool:
        """Whether this person may change anything about dead letters."""
        return Role.OPERATOR in self.roles

    @property
    def sees_buyers(self) -> bool:
        """Whether this person sees what tells who a buyer is: whoever edits a message has to."""
        return self.acts

    @property
    def approves(self) -> bool:
        """Whether this person may decide about what others ask for."""
        return Role.APPROVER in self.roles


@dataclass(frozen=True, slots=True)
class Access:
    """A person's own token for the other services, and until when they take it. `subject` is who he is to them, and
    `roles` are his there."""

    token: str = field(repr=False)
    subject: str
    ends_at: datetime
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Granted:
    """What the keeper of identities gave for a code: who somebody is, and his token for the services, if any."""

    id_token: str = field(repr=False)
    access_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """In which claims of an ID token it stands who somebody is, and by which value of `roles` each role is granted.

    `subject` names the claim that the audit keeps; `roles` may be a path such as `realm_access.roles`.
    """

    subject: str
    roles: str
    granted_by: Mapping[Role, str]


@dataclass(frozen=True, slots=True)
class Client:
    """The console, as the keeper of identities knows it, and what it asks for."""

    issuer: str
    client_id: str
    redirect_uri: str
    scope: str = "openid profile email"


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """Where the keeper of identities is asked for what. Source: OpenID Connect Discovery 1.0 section 3."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of dead letters ended: the next begins behind it."""

    last_failed_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class DoorState:
    """What was seen of a way in: whether it shows a certificate, and from when to when the last one is valid, if there
    ever was one."""

    name: str
    shown: bool
    begins: datetime | None = None
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a service says of itself. None and nothing: it did not answer, or does not say."""

    name: str
    answers: bool
    failing: tuple[str, ...] = ()
    outbox_depth: int | None = None
    outbox_oldest_seconds: float | None = None
    orders_held: Mapping[str, int] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()  # switches that stand stopped
    resting: Mapping[str, str] = field(default_factory=dict)  # queues that rest, and what they wait for
    idle: tuple[str, ...] = ()  # queues of which it should take and does not
    stripe_away: bool = False  # it refuses calls to Stripe at once
    broker_blocks: bool = False  # an alarm at the broker holds its publishing back
    refunds_unanswered: int = 0
    doors: tuple[DoorState, ...] = ()
    secrets_made: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of Prometheus whose condition holds `since` then. `runbook` is an address, or a path."""

    name: str
    severity: str
    fires: bool
    since: datetime
    summary: str
    runbook: str


class Switch(StrEnum):
    """What people may stop at other services."""

    CHECKOUTS = "checkouts"
    REFUNDS = "refunds"
    MAILS = "mails"


KEEPERS: Final[Mapping[Switch, str]] = {
    Switch.CHECKOUTS: "checkout",
    Switch.REFUNDS: "refunds",
    Switch.MAILS: "notifications",
}
"""The service that keeps each."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the broker says of a queue. Rates are a second; None: it has not measured yet."""

    name: str
    ready: int
    unacknowledged: int
    consumers: int
    incoming: float | None = None
    outgoing: float | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a service: in the queue of its facts and in that of its commands, in its retry tiers together, and
    among its dead letters that nobody has kept yet."""

    service: str
    events: QueueState | None
    work: QueueState | None
    retrying: int
    dead: int


@dataclass(frozen=True, slots=True)
class Mentioned:
    """A message in which a searched reference stands."""

    message_id: UUID
    order_ref: str | None
    type: str
    source: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Acted:
    """A row of the audit trail: what somebody did, to a dead letter, a bulk, or both; or with `service`, what he asked
    that service to do to `subject`, and how it ended. The whole record is kept there."""

    id: int
    dead_letter_id: UUID | None
    action: str
    actor: str
    reason: str
    replay_id: UUID | None
    bulk_id: UUID | None
    detail: Any  # Any: JSON
    at: datetime
    service: str | None = None
    subject: str | None = None
    outcome: str | None = None
    code: str | None = None


ACTIONS: Final = (
    "replay", "edit", "bulk_replay", "bulk_discard", "bulk_archive", "pause", "resume", "cancel", "archive",
    "unarchive", "export", "resolved", "refund_approve", "refund_reject", "refund_cancel", "stripe_resend",
    "stripe_backfill", "checkouts_stop", "checkouts_open", "refunds_stop", "refunds_open", "mails_stop", "mails_open",
)  # fmt: skip
"""Every kind of act of the trail."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Which acts of the trail; None means any. `before`: those behind that row."""

    before: int
    actor: str | None = None
    action: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Errand:
    """What somebody asks another service to do: what, upon `subject`, and why."""

    action: str
    actor: str
    reason: str
    service: str
    subject: str | None
    detail: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON


@dataclass(frozen=True, slots=True)
class Ended:
    """How an errand ended, as far as it is known; `code` says why it was not done, or is not known."""

    outcome: Literal["done", "refused", "unknown"]
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """A way in that speaks TLS: the name under which it is known here, where it listens, and as whom it is asked."""

    name: str
    host: str
    port: int
    tls_name: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """From when until when a certificate is valid."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """The database at one moment; from `committed` on, what was counted since the server's statistics began."""

    connections: int
    connections_max: int
    locks_awaited: int
    transaction_ids_used: int
    committed: int
    rolled_back: int
    cache: int
    disk: int
    fetched: int
    inserted: int
    updated: int
    deleted: int
    deadlocks: int
    temporary_bytes: int


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """Whether the server's log is kept somewhere else, and since when what was written is on its own disk alone."""

    archiving: bool
    failures: int
    unarchived_seconds: float


@dataclass(frozen=True, slots=True)
class SchemaState:
    """A schema's tables with their indexes."""

    schema: str
    bytes: int
    dead_rows: int
