"""What the system itself owes, and when Stripe must be asked before it is told. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from payments_shared.ids import derived_id
from refunds.decide.shares import fit, shares_of
from refunds.model.bills import NOTHING, Bill, Given, Sum
from refunds.model.refunds import Payment, Refund, State
from refunds.model.requests import Destination, Origin, Person, Request

POLICY: Final = "policy:v1"
KEY_MEMORY: Final = timedelta(hours=23)
"""Stripe may forget an idempotency key after 24 hours; from here on we ask before we create."""

ANSWERED_WITHIN: Final = timedelta(minutes=15)
"""A refund of which Stripe has said nothing for longer is somebody's concern, however often it is tried."""

WATCHED: Final = timedelta(days=35)
RECHECK: Final = timedelta(days=1)
"""A success is asked after once a day as long as banks return money: of that Stripe sends no event that we hear."""


NOTHING_GIVEN: Final = Given()


def refund_id(payment_intent: str, reason: str) -> UUID:
    """The same for every telling of one cause, so that each is paid once."""
    return derived_id("refund", payment_intent, reason)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the system itself gives money back. `amount_minor` None means all that is left of the payment."""

    reason: str
    amount_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Owed:
    """A request of the system, and the one refund that pays it."""

    request: Request
    refund: Refund


def system_refund(
    payment: Payment, cause: Cause, *, active_minor: int, bill: Bill | None = None, given: Given = NOTHING_GIVEN
) -> Owed | None:
    """The refund that the system owes for `cause`, never more than is left; None when nothing is left.

    System refunds need no second person: the requester is the rule, the approver the policy that allows it. Where the
    payment settled `bill`, the refund takes of what is left of its shares.
    """
    left = payment.captured_minor - active_minor
    amount = left if cause.amount_minor is None else min(cause.amount_minor, left)
    if amount <= 0:
        return None
    request_id, requester = refund_id(payment.payment_intent, cause.reason), f"system:{cause.reason}"
    of_bill = NOTHING
    if bill is not None and payment.settles:
        rest = shares_of(bill) - given.shares
        of_bill = fit(rest, rest, min(amount, rest.total_minor))
    request = Request(
        id=request_id,
        order_id=payment.order_id,
        currency=payment.currency,
        amount_minor=amount,
        sum=Sum(of_bill if of_bill.total_minor == amount else NOTHING),
        destination=Destination.ORIGINAL,
        reason=cause.reason,
        note="",
        origin=Origin.SYSTEM,
        requester=Person(requester),
        decided_by=Person(POLICY),
    )
    return Owed(
        request,
        Refund(
            id=request_id,
            order_id=payment.order_id,
            payment_intent=payment.payment_intent,
            amount_minor=amount,
            currency=payment.currency,
            reason=cause.reason,
            state=State.APPROVED,
            requester=requester,
            approver=POLICY,
            request_id=request_id,
        ),
    )


def must_ask_first(refund: Refund, now: datetime) -> bool:
    """Whether Stripe may have forgotten our key, so that creating again could pay twice."""
    return refund.first_submitted_at is not None and now - refund.first_submitted_at > KEY_MEMORY
