"""What becomes of an order's use of its coupon. Pure."""

from dataclasses import replace

from checkout.model import Coupon

_KEPT = frozenset({("honoured", "redeemed"), ("released", "held"), ("redeemed", "held")})


def next_use(now: str, wanted: str, coupon: Coupon) -> str:
    """The state of a use that is `now` and should be `wanted`: held, redeemed, released or honoured.

    Late money takes its use again if one is free; else the discount is honoured and marked so.
    """
    if (now, wanted) in _KEPT:
        return now
    taken = coupon.held + coupon.redeemed
    if (now, wanted) == ("released", "redeemed") and coupon.max_redemptions is not None:
        return "redeemed" if taken < coupon.max_redemptions else "honoured"
    return wanted


def counted(coupon: Coupon, now: str, after: str) -> Coupon:
    """The coupon once one use of it went from `now` to `after`."""
    return replace(
        coupon,
        held=coupon.held + int(after == "held") - int(now == "held"),
        redeemed=coupon.redeemed + int(after == "redeemed") - int(now == "redeemed"),
    )
