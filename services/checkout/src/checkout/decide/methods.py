"""What events and answers make of a saved payment method, and how it is shown. Pure.

An event shows a method as it was, and nothing tells which of two is newer. So the first is believed, a different one
makes us ask Stripe, and its answer counts. That a method was detached is final.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Final

from checkout.model.customers import Method, Saved

EXPIRES_SOON: Final = timedelta(days=60)
TOLD_BEFORE: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Shown:
    """A method as its owner sees it. `recommended`: of all, a charge of it is the likeliest to succeed."""

    saved: Saved
    default: bool
    expired: bool
    expires_soon: bool
    recommended: bool = False


def heard(known: Saved | None, shown: Method) -> Saved | None:
    """What is known once an event showed a method with a customer; None when nothing is new.

    Where `asked` grew, Stripe must be asked. An event that agrees with what is known asks too while an answer is
    outstanding: that answer may be older than the event.
    """
    if known is None:
        return Saved(shown)
    if known.detached or (known.method == shown and known.asked == known.answered):
        return None
    return replace(known, asked=known.asked + 1)


def answered(known: Saved | None, method_id: str, answer: Method | None, number: int) -> Saved | None:
    """What is known once Stripe answered question `number`; `answer` None: it knows no such method. None when nothing
    is new. Nothing is made known of a method without a customer that was not known before."""
    attached = answer is not None and answer.customer is not None
    if known is None:
        return Saved(answer) if answer is not None and attached else None
    if known.detached or number <= known.answered:
        return None
    if answer is None or not attached:
        return gone(known, method_id)
    return replace(known, method=answer, answered=number)


def gone(known: Saved | None, method_id: str) -> Saved:
    """What is left of a method that was detached: its id, and whose it was."""
    if known is None:
        return Saved(Method(method_id, None), detached=True)
    return replace(known, method=Method(method_id, known.method.customer), detached=True, label=None)


def listed(methods: Sequence[Saved], chosen: str | None, now: datetime) -> tuple[Shown, ...]:
    """A customer's methods, the newest first. The default is the one that he chose, else the oldest."""
    ordered = sorted(methods, key=_age, reverse=True)
    ids = [saved.method.id for saved in ordered]
    default = chosen if chosen in ids else ids[-1] if ids else None
    return tuple(_shown(saved, default, now) for saved in ordered)


def _age(saved: Saved) -> tuple[datetime, str]:
    return saved.method.added_at or datetime.max.replace(tzinfo=UTC), saved.method.id


def _shown(saved: Saved, default: str | None, now: datetime) -> Shown:
    ends = _end(saved.method)
    expired = ends is not None and ends <= now
    soon = ends is not None and now < ends <= now + EXPIRES_SOON
    return Shown(saved, saved.method.id == default, expired, soon)


def _end(method: Method) -> datetime | None:
    """The first moment at which a card is good no more: it is good until its month is over."""
    if method.exp_year is None or method.exp_month is None:
        return None
    return _end_of(month_number(method.exp_year, method.exp_month))


def month_number(year: int, month: int) -> int:
    """A month, counted from the year 0."""
    return year * 12 + month


def _end_of(number: int) -> datetime | None:
    year, month = divmod(number, 12)  # the month after: its first is the twelfth of the year before
    return datetime(year, month + 1, 1, tzinfo=UTC) if year <= MAXYEAR else None


def ending_months(now: datetime) -> list[int]:
    """The months whose end is near enough for owners of cards to be told."""
    this = month_number(now.year, now.month)
    ends = ((number, _end_of(number)) for number in (this, this + 1))
    return [number for number, end in ends if end is not None and end <= now + TOLD_BEFORE]


def expiring(methods: Sequence[Saved], chosen: str | None, method_id: str, now: datetime) -> Saved | None:
    """The method `method_id` if its owner is to be told that it expires: only of the default he is."""
    for shown in listed(methods, chosen, now):
        if shown.default and shown.saved.method.id == method_id:
            return shown.saved
    return None
