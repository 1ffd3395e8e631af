"""What the system itself owes, and when Stripe must be asked before it is told. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from payments_shared.errors import Poison, Refused
from payments_shared.ids import derived_id, external_id
from refunds.decide.machine import SPENT
from refunds.decide.shares import fit, shares_of
from refunds.model.bills import NOTHING, STORE_CREDIT, Bill, Given, Sum
from refunds.model.refunds import Order, Payment, Refund, State
from refunds.model.requests import Destination, Origin, Person, Request

POLICY: Final = "policy:v1"
ORDER_UNKNOWN: Final = "order_unknown"
"""Money for an order that is not here: each telling is somebody who asks for it."""

SYSTEM: Final = "system:"
"""How the requesters of what the system owes begin; the trigger `refunds_within_payment` knows it."""

KEY_MEMORY: Final = timedelta(hours=23)
"""Stripe may forget an idempotency key after 24 hours; from here on we ask before we create."""

ANSWERED_WITHIN: Final = timedelta(minutes=15)
"""A refund of which Stripe has said nothing for longer is somebody's concern, however often it is tried."""

WATCHED: Final = timedelta(days=35)
RECHECK: Final = timedelta(days=1)
"""A success is asked after once a day as long as banks return money: of that Stripe sends no event that we hear."""


NOTHING_GIVEN: Final = Given()


def refund_id(payment_intent: str, reason: str, *displacers: str) -> UUID:
    """The same for every telling of one cause, so that each is paid once. What is left of it after the loss of a
    dispute, beside a refund in Stripe's dashboard, or after another refund that came to nothing, is paid once more,
    under the name of that."""
    return derived_id("refund", payment_intent, reason, *displacers)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the system itself gives money back. `amount_minor` None means all that is left of the payment. `displacer`: a
    lost dispute, or a refund in Stripe's dashboard, that left no room for the refund that paid the cause before; or
    that refund itself, or another that had left it no room, where it came to nothing. `note`: who asked for it again,
    and why."""

    reason: str
    amount_minor: int | None = None
    displacer: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Owed:
    """A request of the system, and the one refund that pays it."""

    request: Request
    refund: Refund


def id_of(payment_intent: str, cause: Cause) -> UUID:
    """The id of the refund that pays `cause`."""
    return refund_id(payment_intent, cause.reason, *((cause.displacer,) if cause.displacer else ()))


def gives_credit_back(order: Order, spent: Mapping[str, int]) -> bool:
    """Whether what store credit paid goes back by refunds. Of an order that met a shortfall checkout itself gives it
    back, all of it, unless a refund gives something of it back; and what it gave back, for whatever reason, is gone."""
    if order.credit_released:
        return False
    return not order.shortfall or spent.get(STORE_CREDIT, 0) > 0


def in_the_way(payment: Payment, cause: Cause, active: Sequence[Refund], *, lost_minor: int = 0) -> list[Refund]:
    """Refunds of the payment, among its `active` ones, that wait for a second person where what is owed needs their
    room, the youngest first: what is sure goes before what somebody may still refuse."""
    room = payment.captured_minor - lost_minor
    wanted = room if cause.amount_minor is None else min(cause.amount_minor, room)
    over = sum(refund.amount_minor for refund in active) + wanted - room if wanted > 0 else 0
    found = []
    for refund in reversed(active):
        if over > 0 and refund.state is State.AWAITING_APPROVAL:
            found.append(refund)
            over -= refund.amount_minor
    return found


def refuse_foreign(payment: Payment, order_id: UUID) -> None:
    """Check that a payment is the order's for which somebody says it is owed.

    Raises:
        Poison: `payment_of_another_order`.
    """
    if payment.order_id != order_id:
        raise Poison("payment_of_another_order", "A refund is owed on a payment that is recorded for another order.")


def system_refund(
    payment: Payment,
    cause: Cause,
    *,
    active_minor: int,
    lost_minor: int = 0,
    bill: Bill | None = None,
    given: Given = NOTHING_GIVEN,
) -> Owed | None:
    """The refund that the system owes for `cause`, never more than is left; None when nothing is left.

    What was lost to disputes is not left. What an open one withholds may come back: the refund waits for it whole.
    System refunds need no second person: the requester is the rule, the approver the policy that allows it. Where the
    payment settled `bill`, the refund takes of what is left of its shares.
    """
    left = payment.captured_minor - active_minor - lost_minor
    settled = bill if payment.settles else None
    return _owed(payment, payment.payment_intent, cause, left=left, bill=settled, given=given)


def credit_of(order_id: UUID, bill: Bill) -> Payment:
    """What store credit paid of a bill, as if it were a payment; its name stands nowhere at Stripe."""
    return Payment(f"{STORE_CREDIT}:{order_id}", order_id, bill.currency, bill.store_credit_minor, settles=True)


def system_credit(
    credit: Payment, bill: Bill, cause: Cause, *, active_minor: int, given: Given = NOTHING_GIVEN
) -> Owed | None:
    """The refund of what store credit paid, that the system owes for `cause`; None when nothing of it is left."""
    return _owed(credit, None, cause, left=credit.captured_minor - active_minor, bill=bill, given=given)


def _owed(
    payment: Payment, payment_intent: str | None, cause: Cause, *, left: int, bill: Bill | None, given: Given
) -> Owed | None:
    amount = left if cause.amount_minor is None else min(cause.amount_minor, left)
    if amount <= 0:
        return None
    request_id, requester = id_of(payment.payment_intent, cause), f"{SYSTEM}{cause.reason}"
    of_bill = NOTHING
    if bill is not None:
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
        note=cause.note,
        origin=Origin.SYSTEM,
        requester=Person(requester),
        decided_by=Person(POLICY),
    )
    return Owed(
        request,
        Refund(
            id=request_id,
            order_id=payment.order_id,
            payment_intent=payment_intent,
            amount_minor=amount,
            currency=payment.currency,
            reason=cause.reason,
            state=State.APPROVED,
            requester=requester,
            approver=POLICY,
            request_id=request_id,
            destination=(Destination.ORIGINAL if payment_intent else Destination.STORE_CREDIT).value,
        ),
    )


def still_owed(displaced: Refund, displacer: str) -> Cause | None:
    """What the system owes beside a lost dispute or a refund in Stripe's dashboard, which took the room of a refund of
    it; None for what others asked for: they look again."""
    if not displaced.requester.startswith(SYSTEM):
        return None
    return Cause(displaced.reason, displaced.amount_minor, displacer)


def rest_of(refused: Refund, payment: Payment, back_minor: int) -> Cause | None:
    """What the system still owes where Stripe refused a refund of it, and has given back `back_minor` of the payment:
    the refund did not fit, and less does. None where nothing is left, and where it fitted: then Stripe's no has another
    reason."""
    left = payment.captured_minor - back_minor
    return still_owed(refused, name_of(refused)) if 0 < left < refused.amount_minor else None


def tried_again(cause: Cause, last: Refund) -> Cause:
    """The cause under another name, so that it is paid by another refund than `last`, which came to nothing."""
    return replace(cause, displacer=name_of(last))


def ended_of(parts: Sequence[Refund]) -> Sequence[Refund]:
    """The refunds of a request that have come to nothing, but for those of store credit; all of it where none has."""
    return [part for part in parts if part.state not in SPENT and part.payment_intent is not None] or parts


def asked_again(ended: Refund, unpaid: Sequence[Cause], asker: Person, note: str) -> list[Cause]:
    """The causes by which somebody has what the system owes paid after the refund `ended`: what that paid where it was
    the system's own, and where it was not what is `unpaid` of its payment, of which it took the room.

    Raises:
        Refused: 409 `not_owed`: the system owes nothing of the payment, or it is store credit; 409 `still_under_way`
            with `refund_status`: it has not come to nothing.
    """
    is_own = ended.requester.startswith(SYSTEM)
    if ended.payment_intent is None or not (is_own or unpaid):
        raise Refused("not_owed", "It is not the system that owes it: ask for a refund of the order.")
    if ended.state in SPENT:
        detail = "It has not come to nothing."
        raise Refused("still_under_way", detail, extra={"refund_status": ended.state.value})
    said = f"again for {asker.subject}" + (f": {note}" if note else "")
    causes = [Cause(ended.reason, ended.amount_minor)] if is_own else unpaid
    return [replace(tried_again(cause, ended), note=said) for cause in causes]


def name_of(refund: Refund) -> str:
    """How a refund that came to nothing names the one that comes after it."""
    return external_id("ref", refund.id)


def must_ask_first(refund: Refund, now: datetime) -> bool:
    """Whether creating again could pay twice: Stripe may have forgotten our key, or the next one is another, and what
    was asked for under the last may have been made since."""
    forgotten = refund.first_submitted_at is not None and now - refund.first_submitted_at > KEY_MEMORY
    return forgotten or refund.stripe_attempt > 0
