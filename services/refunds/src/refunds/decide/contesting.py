"""Whether evidence may be handed in, and what became of it. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from payments_shared.errors import Refused
from refunds.decide import evidence
from refunds.decide.owing import KEY_MEMORY
from refunds.model.disputes import OVER, Dispute, DisputeState
from refunds.model.packs import Pack
from refunds.model.submissions import Submission, SubmissionState, Wanted

AWAITED: Final = frozenset({"needs_response", "warning_needs_response"})
"""Stripe's statuses in which evidence is taken."""


def check(dispute: Dispute, earlier: Sequence[Submission], now: datetime) -> None:
    """Let evidence be handed in.

    Raises:
        Refused: 409 `evidence_submitted`: its bank has it, and takes none again; `dispute_closed`: it is decided;
            `too_late`: it was due; `evidence_under_way`: Stripe has not answered for what was handed in before.
    """
    asking = dispute.state is DisputeState.INQUIRY
    if any(one.final and one.inquiry is asking and one.state is not SubmissionState.REFUSED for one in earlier):
        raise Refused("evidence_submitted", "The evidence was handed in, which can be done once.")
    if dispute.state in OVER:
        raise Refused("dispute_closed", "The dispute is decided.", extra={"dispute_status": dispute.state.value})
    if dispute.stripe_status not in AWAITED:
        raise Refused("evidence_submitted", "Somebody handed evidence in at Stripe, which can be done once.")
    if dispute.past_due or (dispute.due_by is not None and now >= dispute.due_by):
        raise Refused("too_late", "The evidence was due before.")
    if any(one.state is SubmissionState.INTENDED for one in earlier):
        raise Refused("evidence_under_way", "What was handed in before is on its way to Stripe.")


def submission(submission_id: UUID, wanted: Wanted, dispute: Dispute, pack: Pack) -> Submission:
    """What is handed in, made of the pack that its person looked at, with his own words in place of some texts.

    Raises:
        Refused: 409 `evidence_changed`: the facts are not, or no more, those that he looked at; 422
            `evidence_too_long`.
    """
    if wanted.digest != pack.digest:
        raise Refused("evidence_changed", "The facts are others than those that were looked at; look at them again.")
    texts = evidence.overridden(pack.evidence, wanted.overrides)
    return Submission(
        id=submission_id,
        dispute_id=wanted.dispute_id,
        final=wanted.final,
        inquiry=dispute.state is DisputeState.INQUIRY,
        state=SubmissionState.INTENDED,
        digest=pack.digest,
        pack=pack.model_copy(update={"evidence": texts}),
        evidence=texts,
        person=wanted.person,
        reason=wanted.reason,
    )


def answered(before: Submission, refusal: str | None) -> Submission:
    """What was handed in, once Stripe said yes, or no with a code."""
    state = SubmissionState.REFUSED if refusal else SubmissionState.TAKEN
    return replace(before, state=state, refusal=refusal)


def must_ask_first(one: Submission, now: datetime) -> bool:
    """Whether Stripe may have forgotten our key, so that what it has must be looked at before anything is sent."""
    return one.first_asked_at is not None and now - one.first_asked_at > KEY_MEMORY
