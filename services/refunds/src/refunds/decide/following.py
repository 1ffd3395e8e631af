"""Refunds that somebody made in Stripe's dashboard. Pure."""

from collections.abc import Sequence
from typing import Final

from payments_shared.ids import derived_id
from refunds.decide.owing import POLICY
from refunds.decide.shares import fit, shares_of
from refunds.model.bills import NOTHING, Bill, Given, Sum
from refunds.model.heard import Heard
from refunds.model.refunds import Payment, Refund, State
from refunds.model.requests import Destination, Origin, Person, Request

DASHBOARD: Final = "stripe:dashboard"


def external(heard: Heard, payment: Payment, bill: Bill | None, given: Given) -> tuple[Request, Refund]:
    """A refund that we did not ask for, as a request of Stripe's dashboard. It is a fact: no limit is asked."""
    request_id = derived_id("stripe-refund", heard.stripe_refund_id)
    of_bill = NOTHING
    if bill is not None and payment.settles:
        rest = shares_of(bill) - given.shares
        of_bill = fit(rest, rest, min(heard.amount_minor, rest.total_minor))
    request = Request(
        id=request_id,
        order_id=payment.order_id,
        currency=payment.currency,
        amount_minor=heard.amount_minor,
        sum=Sum(of_bill if of_bill.total_minor == heard.amount_minor else NOTHING),
        destination=Destination.ORIGINAL,
        reason="dashboard",
        note="",
        origin=Origin.STRIPE,
        requester=Person(DASHBOARD),
        decided_by=Person(POLICY),
    )
    refund = Refund(
        id=request_id,
        order_id=payment.order_id,
        payment_intent=payment.payment_intent,
        amount_minor=heard.amount_minor,
        currency=payment.currency,
        reason="dashboard",
        state=State.APPROVED,
        requester=DASHBOARD,
        approver=POLICY,
        request_id=request_id,
    )
    return request, refund


def displaced(refunds: Sequence[Refund], captured_minor: int) -> list[Refund]:
    """Refunds of one payment that no longer fit beside what Stripe has given back: of those that Stripe was not asked
    for, the youngest first. What Stripe may have got already is for Stripe to refuse."""
    over = sum(refund.amount_minor for refund in refunds) - captured_minor
    found = []
    for refund in reversed(refunds):
        if over > 0 and refund.state in (State.AWAITING_APPROVAL, State.APPROVED):
            found.append(refund)
            over -= refund.amount_minor
    return found
