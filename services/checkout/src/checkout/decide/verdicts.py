"""What a person decides about a held order. Pure."""

from checkout.decide import learning
from checkout.decide.learning import Account
from checkout.decide.order import QUARANTINES, Say
from checkout.model.credit import CreditState
from checkout.model.facts import Fact, HoldEnded, HoldLifted, OrderRefused
from checkout.model.orders import Order
from payments_shared.errors import Refused


def release(account: Account, by: str, reason: str | None) -> tuple[Fact, ...]:
    """The order goes on: first out of its quarantine; and when it is only suspected, out of all suspicions that he can
    know of.

    Raises:
        Refused: 409 `order_refused`; `refund_on_its_way`: a warning's; `review_rejected`: its money has gone back, or
            the bank has taken it.
    """
    order, seen = account.order, learning.seen_of(account)
    if seen.refused is not None:
        raise Refused("order_refused", "Somebody has refused the order: its money goes back.")
    if order.held_reason is None:
        return ()
    if order.held_reason in QUARANTINES:
        return (HoldEnded(released=True, by=by, reason=reason),)
    if any(hold.final for hold in seen.holds):
        raise Refused("review_rejected", "A review ended with the money on its way back: nothing is sent.")
    if _paid_back_by_itself(account) and not _has_failed(order):
        raise Refused("refund_on_its_way", "The payment goes back, since its bank warned of fraud.")
    if order.store_credit_state == CreditState.RELEASED:
        raise Refused("refund_on_its_way", "What store credit paid of it has gone back.")
    return tuple(HoldLifted(hold.cause, by, reason) for hold in seen.holds if not hold.over)


def refuse(account: Account, by: str, reason: str) -> tuple[Fact, ...]:
    """The money goes back and the goods stay: at once what the deadline of a quarantine does, or what a warning of a
    small amount does. Who refuses again changes nothing.

    Raises:
        Refused: 409 `order_not_held`: a refund is what it needs.
    """
    if learning.seen_of(account).refused is not None:
        return ()
    if account.order.held_reason is None:
        raise Refused("order_not_held", "Nothing holds the order; a refund gives its money back.")
    refused = OrderRefused(by, reason)
    return (HoldEnded(released=False), refused) if account.order.held_reason in QUARANTINES else (refused,)


def _paid_back_by_itself(account: Account) -> bool:
    return any(key.startswith(Say.REFUND) and key.endswith(":early_fraud_warning") for key in account.said)


def _has_failed(order: Order) -> bool:
    """Whether every refund there was came to nothing."""
    return bool(order.refunds) and all(
        refund["status"] in ("failed", "rejected", "canceled") for refund in order.refunds.values()
    )
