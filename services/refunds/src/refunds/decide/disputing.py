"""The machine of a dispute, and what follows from its states. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID

from payments_shared.errors import Poison
from refunds.decide import following, owing
from refunds.decide.owing import Cause
from refunds.model.disputes import OVER, UNDECIDED, Dispute, DisputeState, Told
from refunds.model.refunds import Payment, Refund, State

REMINDERS: Final = (72, 24)
"""Hours before evidence is due at which staff are reminded, once each, the most first."""

REFUSALS: Final = 5
"""So often Stripe may refuse a refund as disputed, while it knows no open dispute, before that is its last word."""

_STATES: Final = MappingProxyType(
    {
        "warning_needs_response": DisputeState.INQUIRY,
        "warning_under_review": DisputeState.INQUIRY,
        "warning_closed": DisputeState.CLOSED,
        "needs_response": DisputeState.OPEN,
        "under_review": DisputeState.UNDER_REVIEW,
        "won": DisputeState.WON,
        "lost": DisputeState.LOST,
        "prevented": DisputeState.LOST,  # the money went back to the buyer before his bank asked for it
    }
)

ARROWS: Final[Mapping[DisputeState | None, frozenset[DisputeState]]] = MappingProxyType(
    {
        None: frozenset(DisputeState),
        DisputeState.INQUIRY: frozenset(DisputeState),
        DisputeState.OPEN: frozenset(DisputeState) - {DisputeState.INQUIRY, DisputeState.CLOSED},
        DisputeState.UNDER_REVIEW: frozenset(DisputeState) - {DisputeState.INQUIRY, DisputeState.CLOSED},
        DisputeState.WON: frozenset(DisputeState) - {DisputeState.INQUIRY, DisputeState.CLOSED},
        DisputeState.LOST: frozenset({DisputeState.UNDER_REVIEW, DisputeState.WON, DisputeState.LOST}),
        DisputeState.CLOSED: frozenset(DisputeState) - {DisputeState.INQUIRY},
    }
)
"""Answers skip states, since Stripe moves on between two questions. Banks reopen what was decided, and pay late."""


class IllegalDispute(Poison):
    """There is no arrow for this pair."""

    def __init__(self, before: DisputeState, after: DisputeState) -> None:
        super().__init__("illegal_step", f"a dispute that is {before} cannot become {after}")


def state_of(status: str) -> DisputeState:
    """Stripe's status as a state.

    Raises:
        Poison: a status that we do not know; it must be looked at, not guessed.
    """
    found = _STATES.get(status)
    if found is None:
        raise Poison("unknown_status", f"dispute status {status!r}")
    return found


def folded(
    before: Dispute | None, told: Told, asked_at: datetime, *, order_id: UUID | None, now: datetime
) -> Dispute | None:
    """What is known after Stripe answered `told` to a question put at `asked_at`; None when a newer one was folded.

    Raises:
        IllegalDispute: `ARROWS` has no arrow for what it was and is.
        Poison: a status that we do not know.
    """
    state = state_of(told.status)
    if before is not None and asked_at < before.asked_at:
        return None
    if before is not None and state not in ARROWS[before.state]:
        raise IllegalDispute(before.state, state)
    moved = before is not None and state is not before.state
    deadline_moved = before is not None and told.due_by != before.due_by
    return Dispute(
        id=told.id,
        charge=told.charge,
        payment_intent=told.payment_intent,
        order_id=(before and before.order_id) or order_id,
        amount_minor=told.amount_minor,
        currency=told.currency,
        state=state,
        stripe_status=told.status,
        reason=told.reason,
        network_reason_code=told.network_reason_code,
        due_by=told.due_by,
        has_evidence=told.has_evidence,
        submission_count=told.submission_count,
        past_due=told.past_due,
        charge_refundable=told.charge_refundable,
        asked_at=asked_at,
        version=1 if before is None else before.version + moved,
        said=before.said if before else None,
        reminded_hours=None if before is None or moved or deadline_moved else before.reminded_hours,
        opened_at=told.opened_at,
        closed_at=_closed_at(before, state, now, moved=moved),
    )


def _closed_at(before: Dispute | None, state: DisputeState, now: datetime, *, moved: bool) -> datetime | None:
    if state not in OVER:
        return None
    return now if before is None or moved else before.closed_at


def linked(dispute: Dispute, order_id: UUID) -> Dispute:
    """The dispute, whose payment became known."""
    return replace(dispute, order_id=order_id)


# -- what it withholds -------------------------------------------------------------------------------------------------


def withheld(disputes: Sequence[Dispute], payment: Payment) -> int:
    """What disputes that are open or lost withhold of a payment, in its minor units. The query `withheld_by_payment`
    and the trigger `refunds_within_payment` say the same."""
    return _sum(disputes, payment, (DisputeState.OPEN, DisputeState.UNDER_REVIEW, DisputeState.LOST))


def lost(disputes: Sequence[Dispute], payment: Payment) -> int:
    """What of a payment is gone for good, in its minor units."""
    return _sum(disputes, payment, (DisputeState.LOST,))


def _sum(disputes: Sequence[Dispute], payment: Payment, states: tuple[DisputeState, ...]) -> int:
    return sum(
        dispute.amount_minor if dispute.currency == payment.currency else payment.captured_minor
        for dispute in disputes
        if dispute.state in states
    )


@dataclass(frozen=True, slots=True)
class Consequences:
    """What the end of a dispute does to refunds of its payment: which no longer fit beside what is lost, what of these
    the system still owes, and which need wait no longer."""

    canceled: tuple[Refund, ...]
    owed: tuple[Cause, ...]
    goes_on: tuple[Refund, ...]


def consequences(
    over: Dispute, disputes: Sequence[Dispute], active: Sequence[Refund], payment: Payment
) -> Consequences:
    """What follows from `over`, one of the `disputes` of a payment, for its `active` refunds, the oldest first."""
    canceled = following.displaced(active, payment.captured_minor - lost(disputes, payment))
    blocked = any(one.blocks for one in disputes)
    left = (refund for refund in active if refund.state is State.APPROVED and refund not in canceled)
    return Consequences(
        tuple(canceled),
        tuple(cause for refund in canceled if (cause := owing.still_owed(refund, over.id)) is not None),
        () if blocked else tuple(left),
    )


def loss_of(dispute_id: str) -> str:
    """How the history of a refund names the loss that left no room for it."""
    return f"displaced by the loss of {dispute_id}"


def owed_after_all(won: Dispute, displaced: Sequence[Refund], active: Sequence[Refund]) -> tuple[Cause, ...]:
    """What the system owes again of a payment whose dispute was lost and is `won`: of each cause whose refund was
    `displaced` by the loss, what none of the `active` refunds pays."""
    owed: dict[str, int] = {}
    for refund in displaced:
        if owing.still_owed(refund, won.id) is not None:
            owed[refund.reason] = max(owed.get(refund.reason, 0), refund.amount_minor)
    for refund in active:
        if refund.requester.startswith(owing.SYSTEM) and refund.reason in owed:
            owed[refund.reason] -= refund.amount_minor
    return tuple(Cause(reason, amount, turn_of(won)) for reason, amount in owed.items() if amount > 0)


def turn_of(dispute: Dispute) -> str:
    """A name for this turn of a dispute, which may be lost and won more than once."""
    return f"{dispute.id}:{dispute.version}"


# -- what is said ------------------------------------------------------------------------------------------------------


def due_announcement(dispute: Dispute) -> str | None:
    """What is to be announced: `opened:inquiry`, `opened:dispute`, `won` or `lost`; None while its order is unknown, or
    when that was announced last."""
    if dispute.order_id is None:
        return None
    match dispute.state:
        case DisputeState.INQUIRY:
            wanted = "opened:inquiry"
        case DisputeState.OPEN | DisputeState.UNDER_REVIEW:
            wanted = "opened:dispute"
        case DisputeState.WON | DisputeState.CLOSED:
            wanted = "won"
        case DisputeState.LOST:
            wanted = "lost"
    return None if wanted == dispute.said else wanted


def due_reminder(dispute: Dispute, now: datetime) -> int | None:
    """How many hours before its deadline staff are to be reminded of it now; None when they need not be."""
    waits = dispute.state in UNDECIDED - {DisputeState.UNDER_REVIEW} and not dispute.submission_count
    if not waits or dispute.due_by is None or dispute.due_by <= now:
        return None
    near = [hours for hours in REMINDERS if dispute.due_by - now <= timedelta(hours=hours)]
    if not near or (dispute.reminded_hours is not None and dispute.reminded_hours <= min(near)):
        return None
    return min(near)
