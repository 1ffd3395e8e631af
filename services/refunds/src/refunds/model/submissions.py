"""Evidence that was handed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from refunds.model.packs import Pack
from refunds.model.requests import Person


class SubmissionState(StrEnum):
    """`intended`: Stripe is asked, and has not said yes or no. `taken` and `refused` are its answers."""

    INTENDED = "intended"
    TAKEN = "taken"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Submission:
    """Evidence of a dispute on its way to its bank, as somebody had looked at it.

    `final`: Stripe sends it on, which it does once; else it only lies ready there. `inquiry`: the bank was only asking;
    if it disputes the payment afterwards, evidence is taken once again. `evidence` are the texts that are sent; `pack`
    is what they were made of, and what is printed for the bank; both are forgotten some time after the dispute, and its
    `digest` is not. `stripe_attempt` counts the keys under which Stripe has
    kept a failure of its own.
    """

    id: UUID
    dispute_id: str
    final: bool
    inquiry: bool
    state: SubmissionState
    digest: str
    pack: Pack | None
    evidence: Mapping[str, str]
    person: Person
    reason: str
    file_id: str | None = None
    refusal: str | None = None
    stripe_attempt: int = 0
    first_asked_at: datetime | None = None
    created_at: datetime | None = None
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for: to hand in the pack whose digest he names, with his own words in place of some texts."""

    dispute_id: str
    digest: str
    overrides: Mapping[str, str]
    final: bool
    reason: str
    person: Person
