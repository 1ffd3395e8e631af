"""Which of many refunds stand out. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from payments_shared.errors import FieldError, Refused
from refunds.decide.scoring import PEERS, UNLIKE, Signal, is_unlike
from refunds.model.patterns import Rate, Reason
from refunds.model.reports import Group, Grouping, Window

LONGEST: Final = timedelta(days=366)
USUAL: Final = timedelta(days=30)


def window(since: date | None, until: date | None, now: datetime) -> Window:
    """From the day `since` to the day `until`, both whole, in UTC; without them, thirty days up to today.

    Raises:
        Refused: 422 `window_invalid`: it ends before it begins, or is longer than 366 days.
    """
    last = until or now.astimezone(UTC).date()
    end = datetime.combine(last, time(), UTC) + timedelta(days=1)
    begin = datetime.combine(since, time(), UTC) if since else end - USUAL
    if not timedelta(0) < end - begin <= LONGEST:
        detail = f"From one day to a later one, at most {LONGEST.days} days."
        raise Refused("window_invalid", detail, status=422, errors=[FieldError("/from", detail, "window_invalid")])
    return Window(begin, end)


def marked(groups: Sequence[Group], by: Grouping, shop: Rate) -> list[Group]:
    """The groups with what is suspicious about them, the most suspicious first, then the largest."""
    found = [replace(group, marks=tuple(_marks(group, groups, by, shop))) for group in groups]
    return sorted(found, key=lambda group: (-len(group.marks), -group.suspicious, -group.requests, group.name))


def _marks(group: Group, groups: Sequence[Group], by: Grouping, shop: Rate) -> Sequence[Reason]:
    match by:
        case Grouping.OPERATOR:
            return _of_operator(group, [one for one in groups if one.name != group.name and ":" not in one.name])
        case Grouping.CUSTOMER:
            rate = group.rate
            often = rate.orders >= 4 and rate.refunded >= 3 and 2 * rate.refunded >= rate.orders
            return _rated(Signal.CUSTOMER_REFUND_RATE, group.rate, shop) if often and is_unlike(rate, shop) else ()
        case Grouping.PRODUCT:
            bad = group.rate.orders >= 20 and group.rate.refunded >= 5 and is_unlike(group.rate, shop, times=2)
            return _rated(Signal.PRODUCT_REFUND_RATE, group.rate, shop) if bad else ()
        case Grouping.REASON:
            return ()


def _of_operator(group: Group, peers: Sequence[Group]) -> Sequence[Reason]:
    """An operator against his colleagues; `system:` and `stripe:` are none."""
    if ":" in group.name or len(peers) < PEERS:
        return ()
    theirs = sum(peer.requests for peer in peers)
    if group.requests < 30 or group.requests * len(peers) <= UNLIKE * theirs:
        return ()
    return [Reason(Signal.OPERATOR_VELOCITY, 0, {"requests": group.requests, "peers": len(peers), "theirs": theirs})]


def _rated(signal: Signal, rate: Rate, shop: Rate) -> Sequence[Reason]:
    detail = {
        "refunded": rate.refunded,
        "orders": rate.orders,
        "shop_refunded": shop.refunded,
        "shop_orders": shop.orders,
    }
    return [Reason(signal, 0, detail)]
