"""The machine of a refund. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from payments_shared.errors import Poison
from refunds.model.refunds import Answer, Refund, State


class Input(StrEnum):
    """What can happen to a refund."""

    ESCALATED = "escalated"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    DISPLACED = "displaced"
    SUBMITTED = "submitted"
    DISPUTED = "disputed"
    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


_FROM_STRIPE: Final = {
    Input.PENDING: State.PENDING,
    Input.REQUIRES_ACTION: State.REQUIRES_ACTION,
    Input.SUCCEEDED: State.SUCCEEDED,
    Input.FAILED: State.FAILED,
    Input.CANCELED: State.CANCELED,
}

ARROWS: Final[Mapping[State, Mapping[Input, State]]] = MappingProxyType(
    {
        State.REQUESTED: {
            Input.ESCALATED: State.AWAITING_APPROVAL,
            Input.APPROVED: State.APPROVED,
            Input.REJECTED: State.REJECTED,
            Input.WITHDRAWN: State.CANCELED,
        },
        State.AWAITING_APPROVAL: {
            Input.ESCALATED: State.AWAITING_APPROVAL,
            Input.APPROVED: State.APPROVED,
            Input.REJECTED: State.REJECTED,
            Input.WITHDRAWN: State.CANCELED,
            Input.DISPLACED: State.CANCELED,
        },
        State.APPROVED: {
            Input.APPROVED: State.APPROVED,
            Input.WITHDRAWN: State.CANCELED,  # while it is put off
            Input.SUBMITTED: State.SUBMITTED,
            Input.DISPUTED: State.APPROVED,
            Input.DISPLACED: State.CANCELED,
            **_FROM_STRIPE,
        },
        State.SUBMITTED: {
            Input.SUBMITTED: State.SUBMITTED,
            Input.DISPUTED: State.APPROVED,  # a definite no: it waits as if nobody had asked
            **_FROM_STRIPE,
        },
        State.PENDING: {
            Input.SUBMITTED: State.PENDING,
            Input.DISPUTED: State.PENDING,  # of a request that was overtaken
            **_FROM_STRIPE,
            Input.REQUIRES_ACTION: State.REQUIRES_ACTION,
        },
        State.REQUIRES_ACTION: {
            Input.SUBMITTED: State.REQUIRES_ACTION,
            Input.DISPUTED: State.REQUIRES_ACTION,
            **_FROM_STRIPE,
            Input.PENDING: State.REQUIRES_ACTION,  # an older snapshot
        },
        State.SUCCEEDED: {
            Input.SUBMITTED: State.SUCCEEDED,
            Input.DISPUTED: State.SUCCEEDED,
            Input.PENDING: State.SUCCEEDED,  # older snapshots
            Input.REQUIRES_ACTION: State.SUCCEEDED,
            Input.SUCCEEDED: State.SUCCEEDED,
            Input.FAILED: State.FAILED,  # the bank returned the money
            Input.CANCELED: State.CANCELED,
        },
        State.FAILED: dict.fromkeys((Input.SUBMITTED, Input.DISPUTED, *_FROM_STRIPE), State.FAILED),
        State.CANCELED: dict.fromkeys(
            (Input.WITHDRAWN, Input.SUBMITTED, Input.DISPUTED, *_FROM_STRIPE), State.CANCELED
        ),
        State.REJECTED: {Input.REJECTED: State.REJECTED},
    }
)

SPENT: Final = frozenset(State) - {State.FAILED, State.CANCELED, State.REJECTED}
"""States in which the amount counts as gone; money that is only on its way counts too."""


class IllegalStep(Poison):
    """There is no arrow for this pair."""

    def __init__(self, state: State, received: Input) -> None:
        super().__init__("illegal_step", f"a refund that is {state} cannot be {received}")


def step(refund: Refund, received: Input, answer: Answer | None = None) -> Refund:
    """Advance `refund` by one input. A repeated input changes nothing.

    Raises:
        IllegalStep: `ARROWS` has no arrow for this pair.
    """
    target = ARROWS[refund.state].get(received)
    if target is None:
        raise IllegalStep(refund.state, received)
    if answer is None:
        return replace(refund, state=target)
    # Of a snapshot that is older than what is known its reasons are, too.
    waits = answer if target.value == answer.status else refund
    return replace(
        refund,
        state=target,
        stripe_refund_id=answer.stripe_refund_id,
        failure_reason=answer.failure_reason or refund.failure_reason,
        pending_reason=waits.pending_reason if target is State.PENDING else None,
        action_expires_at=waits.action_expires_at if target is State.REQUIRES_ACTION else None,
    )


def input_of(answer: Answer) -> Input:
    """Stripe's status as an input.

    Raises:
        Poison: a status that we do not know; it must be looked at, not guessed.
    """
    try:
        return Input(answer.status)
    except ValueError:
        raise Poison("unknown_status", f"refund status {answer.status!r}") from None
