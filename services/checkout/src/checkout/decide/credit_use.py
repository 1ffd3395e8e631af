"""What becomes of the store credit that an order uses. Pure; what has become of the order says `order`."""

from typing import Final

from checkout.decide.order import View
from checkout.model.credit import CreditState
from checkout.model.orders import Order, State

TENDER: Final = "store_credit"


def state_after(order: Order, seen: View) -> CreditState | None:
    """What becomes of it once the order is as it is `seen`; None when it uses none.

    It goes back with the order's end, and with what is given back of a paid order: at once when its goods cannot be
    had, else when all of its other money is back. What went back before the order was paid, late money takes again;
    what went back afterwards stays its owner's. Of what a refund of staff's gives back nothing goes back by itself: the
    rest of it can be refunded as well.
    """
    if order.store_credit_state is None:
        return None
    released = order.store_credit_state == CreditState.RELEASED
    if seen.state is State.PAID and not seen.dishonoured:
        goes_back = seen.refused is not None or seen.warned_off or any(hold.final for hold in seen.holds)
        back = (seen.stock_short or (goes_back and _is_paid_back(order, seen))) and not is_refunded(order)
        stays_back = released and order.paid_at is not None
        return CreditState.RELEASED if back or stays_back else CreditState.SPENT
    over = seen.state in (State.CANCELED, State.EXPIRED, State.SETTLEMENT_FAILED)
    ended = over or seen.dishonoured or seen.canceled is not None
    return CreditState.RELEASED if ended or released else CreditState.RESERVED


def is_back(order: Order) -> bool:
    """Whether the credit of an order that is paid, and was not dishonoured, went back by itself. It never leaves again,
    and whoever refunds must know."""
    honoured = order.state is State.PAID and not order.dishonoured
    return honoured and order.store_credit_state == CreditState.RELEASED


def is_taken_again(before: Order, after: Order) -> bool:
    """Whether late money asks for credit that the order had given back."""
    return before.store_credit_state == CreditState.RELEASED and after.store_credit_state == CreditState.SPENT


def _is_paid_back(order: Order, seen: View) -> bool:
    return paid_back_minor(order) >= seen.captured_minor


def paid_back_minor(order: Order) -> int:
    """All money of the order that was charged and has been given back to its buyer."""
    return sum(
        int(refund["amount_minor"])
        for refund in order.refunds.values()
        if refund["status"] == "succeeded" and refund.get("tender") != TENDER
    )


def is_refunded(order: Order) -> bool:
    """Whether a refund gives back something of what store credit paid."""
    dead = ("failed", "rejected", "canceled")
    return any(one.get("tender") == TENDER and one["status"] not in dead for one in order.refunds.values())
