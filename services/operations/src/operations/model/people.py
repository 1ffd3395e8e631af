"""Who signed in at the console, and what he may do."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


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
