"""How many requests somebody may make in a while. Pure."""

import math
from collections.abc import Sequence

from checkout.model.limits import Allowance, Count, Limit, Window


def allowances(limits: Sequence[Limit], counts: Sequence[Count]) -> list[Allowance]:
    """What is left of each limit after the requests that were counted, this one among them."""
    by_name = {count.name: count for count in counts}
    return [_allowance(limit, by_name[limit.name]) for limit in limits if limit.name in by_name]


def counted(limit: Limit, window: Window | None, now_seconds: float) -> Window:
    """`window` with one more request in it; another one, where there is none or it is over."""
    if window is None or window.ends_at_seconds <= now_seconds:
        return Window(1, now_seconds + limit.seconds)
    return Window(window.taken + 1, window.ends_at_seconds)


def _allowance(limit: Limit, count: Count) -> Allowance:
    # A window that a later transaction began ends more than its length after the moment at which ours began.
    seconds = min(math.ceil(count.seconds_left), limit.seconds)
    return Allowance(
        limit=limit,
        remaining=max(limit.most - count.taken, 0),
        reset_seconds=max(seconds, 1),
        exceeded=count.taken > limit.most,
    )


def wait_seconds(found: Sequence[Allowance]) -> int | None:
    """How long to wait for all that were exceeded; None when the request is within every limit."""
    return max((allowance.reset_seconds for allowance in found if allowance.exceeded), default=None)
