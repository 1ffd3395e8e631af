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

_ENDED: Final = ("failed", "canceled")
_ASKED: Final = frozenset({State.APPROVED, State.SUBMITTED})
"""States in which Stripe may have been asked, and nothing is known of its answer."""


def is_answer_to(named: Refund, heard: Heard) -> bool:
    """Whether what Stripe tells of is the refund that its metadata names. Anybody may write anything into metadata: it
    is of the same payment and the same amount, and of that refund Stripe has made no other. One more under the same
    name, and one that Stripe was never asked for, is money that went back beside it."""
    same = (named.payment_intent, named.amount_minor) == (heard.payment_intent, heard.amount_minor)
    return same and named.stripe_refund_id is None and named.state in _ASKED


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


def back_minor(heard: Sequence[Heard]) -> int:
    """How much of a payment Stripe has given back, or is about to, by all its refunds."""
    return sum(one.amount_minor for one in heard if one.status not in _ENDED)


def displaced_by(heard: Heard, active: Sequence[Refund], room_minor: int) -> list[Refund]:
    """Refunds of one payment, the `active` ones, that no longer fit into `room_minor` beside one that Stripe tells of
    and that is not ours; none where that has failed or was canceled."""
    if heard.status in _ENDED:
        return []
    return displaced(active, room_minor - heard.amount_minor)


def with_waiting_parts(displaced: Sequence[Refund], parts: Sequence[Refund]) -> list[Refund]:
    """The `displaced` refunds, and those `parts` of their requests that wait for a second person as well: he decides
    about all of a request or about nothing."""
    known = {refund.id for refund in displaced}
    waiting = (part for part in parts if part.id not in known and part.state is State.AWAITING_APPROVAL)
    return [*displaced, *waiting]


def displaced(refunds: Sequence[Refund], room_minor: int) -> list[Refund]:
    """Refunds of one payment that no longer fit into `room_minor`, beside what Stripe has given back: of those that
    Stripe was not asked for, the youngest first. What Stripe may have got already is for Stripe to refuse."""
    over = sum(refund.amount_minor for refund in refunds) - room_minor
    found = []
    for refund in reversed(refunds):
        if over > 0 and refund.state in (State.AWAITING_APPROVAL, State.APPROVED):
            found.append(refund)
            over -= refund.amount_minor
    return found
