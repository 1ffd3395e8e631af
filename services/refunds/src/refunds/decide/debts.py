"""What the system still owes once another refund, which took its room, has come to nothing. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from payments_shared.contracts.fulfillment import DISPUTE_LOST
from payments_shared.ids import external_id
from refunds.decide import warning
from refunds.decide.hearing import has_gone
from refunds.decide.machine import SPENT
from refunds.decide.owing import SYSTEM, Cause, name_of, refund_id
from refunds.model.debts import Attempt, Debt
from refunds.model.exhibits import Exhibit
from refunds.model.refunds import Payment, Refund, State

_WHILE_NOTHING_IS_SENT: Final = frozenset({DISPUTE_LOST, warning.REASON})


def holding(debts: Sequence[Debt], exhibits: Sequence[Exhibit]) -> list[Debt]:
    """Those of `debts` that hold still: some only while no goods have gone; else a person says how much it is."""
    gone = has_gone(exhibits)
    return [debt for debt in debts if not (gone and debt.reason in _WHILE_NOTHING_IS_SENT)]


def unpaid_minor(debt: Debt, payment: Payment, attempts: Sequence[Attempt]) -> int:
    """What of `debt` no refund of the system's own has paid, or is about to pay."""
    whole = payment.captured_minor if debt.amount_minor is None else debt.amount_minor
    paid = sum(one.amount_minor for one in attempts if _pays(one, debt) and one.state in SPENT)
    return max(whole - paid, 0)


def rest_beside(ended: Refund, payment: Payment, debts: Sequence[Debt], attempts: Sequence[Attempt]) -> Iterator[Cause]:
    """What the system owes by itself where `ended` gives nothing back, of which no mail asked anybody to pay it another
    way: of each of `debts` no more than that would have given back, and nothing that is left to people."""
    for debt in debts:
        owed = unpaid_minor(debt, payment, attempts) - _left_to_people(debt, payment, attempts)
        if (amount := min(owed, ended.amount_minor)) > 0:
            yield Cause(debt.reason, amount, name_of(ended))


def all_unpaid(payment: Payment, debts: Sequence[Debt], attempts: Sequence[Attempt]) -> list[Cause]:
    """All that is unpaid, a cause for each of `debts`; of those that are paid its amount is 0."""
    return [Cause(debt.reason, unpaid_minor(debt, payment, attempts)) for debt in debts]


def _left_to_people(debt: Debt, payment: Payment, attempts: Sequence[Attempt]) -> int:
    """How much of `debt` people see to: what failed of the payment, for which no other refund came; and all of it where
    that paid the debt, or was canceled by Stripe or taken back by a person and would have paid it."""
    known = {one.id for one in attempts}
    over = [
        one
        for one in attempts
        if one.state not in SPENT and not one.displaced and known.isdisjoint(_next(one, debt, payment))
    ]
    if any(_pays(one, debt) for one in over):
        return unpaid_minor(debt, payment, attempts)
    return sum(one.amount_minor for one in over if one.state is State.FAILED)


def _next(attempt: Attempt, debt: Debt, payment: Payment) -> set[UUID]:
    """The ids of the refunds that may come in the place of `attempt`: for `debt`, or for what itself was to pay."""
    reasons = (debt.reason, attempt.requester.removeprefix(SYSTEM))
    return {refund_id(payment.payment_intent, reason, external_id("ref", attempt.id)) for reason in reasons}


def _pays(attempt: Attempt, debt: Debt) -> bool:
    return attempt.requester == f"{SYSTEM}{debt.reason}"
