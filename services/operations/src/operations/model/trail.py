"""The audit trail: what somebody did, here or at another service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

ACTIONS: Final = (
    "replay", "edit", "bulk_replay", "bulk_discard", "bulk_archive", "pause", "resume", "cancel", "archive",
    "unarchive", "export", "resolved", "refund_approve", "refund_reject", "refund_cancel", "stripe_resend",
    "stripe_backfill", "checkouts_stop", "checkouts_open", "refunds_stop", "refunds_open", "mails_stop", "mails_open",
)  # fmt: skip
"""Every kind of act of the trail."""


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
