"""Which payments go back before their buyers' banks dispute them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from refunds.decide.hearing import has_gone
from refunds.model.bills import Bill
from refunds.model.disputes import Dispute, DisputeState, FraudWarning
from refunds.model.exhibits import Exhibit
from refunds.model.refunds import Payment
from refunds.model.rules import Rules

REASON: Final = "early_fraud_warning"
"""As checkout says it, too: a payment is paid back once for this cause, whoever finds it first."""

_TOO_LATE: Final = frozenset({DisputeState.OPEN, DisputeState.UNDER_REVIEW, DisputeState.LOST})


@dataclass(frozen=True, slots=True)
class Warned:
    """A payment that was warned of, what it paid for, as far as that is known, and what became of its goods."""

    payment: Payment
    warnings: Sequence[FraudWarning]
    disputes: Sequence[Dispute]
    bill: Bill | None = None
    exhibits: Sequence[Exhibit] = ()


def pays_back(warned: Warned, rules: Rules) -> bool:
    """Whether all that is left of a payment goes back: it was warned of, is small enough by the rules, alone paid its
    order, whose goods are still here, and no bank has taken the money."""
    payment, bill = warned.payment, warned.bill
    limit = rules.refund_warned_up_to.get(payment.currency)
    if limit is None or payment.captured_minor > limit:
        return False
    if bill is not None and (bill.total_minor > limit or bill.total_minor != payment.captured_minor):
        return False
    if has_gone(warned.exhibits):
        return False
    actionable = any(one.actionable for one in warned.warnings)
    return actionable and not any(one.state in _TOO_LATE for one in warned.disputes)
