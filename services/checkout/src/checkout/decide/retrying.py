"""When a saved method that was declined is charged again, without its owner. Pure.

All attempts are confirmations of the order's one payment intent, which can take money once and no more.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from checkout.decide.declines import is_soft
from checkout.model.customers import Method
from checkout.model.facts import Fact, IntentDeclined
from checkout.model.orders import Order

RETRIED: Final = frozenset({"card"})
"""Kinds of methods that may be charged again without asking. Bank debits have rules of their schemes."""


def schedule_of(method: Method, retry_seconds: Sequence[int], *, wanted: bool) -> tuple[int, ...]:
    """How long after each decline the method is charged again; empty: never."""
    return tuple(retry_seconds) if wanted and method.type in RETRIED else ()


def is_refused(order: Order, known: Sequence[Fact], refusals: Sequence[IntentDeclined]) -> bool:
    """Whether these refusals of the order's charge are the end of it: one of them is for good, the bank wants the owner
    and he is not there, or all attempts were made."""
    if not refusals:
        return False
    asked = any(isinstance(fact, IntentDeclined) and fact.asks_for_owner for fact in known)
    soft = all(is_soft(fact.decline_code, fact.advice_code) for fact in refusals)
    return asked or not soft or len(refusals) > len(order.retry_seconds)


def is_fruitless(before: Order, after: Order) -> bool:
    """Whether an attempt told nothing new, as where Stripe says no by itself and asks no bank: the same attempt is due
    still, and would be for ever."""
    return after.retry_at is not None and (after.retry_attempt, after.retry_at) == (
        before.retry_attempt,
        before.retry_at,
    )


def next_attempt(order: Order, refusals: int, now: datetime, *, waits: bool) -> tuple[int, datetime | None]:
    """The number of the attempt that comes after so many refusals, and when it is due; None when none comes."""
    if not waits:
        return order.retry_attempt, None
    if refusals == order.retry_attempt:
        return order.retry_attempt, order.retry_at
    return refusals, now + timedelta(seconds=order.retry_seconds[refusals - 1])
