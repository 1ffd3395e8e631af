"""What becomes of a use of a coupon."""

from dataclasses import replace

import pytest

from checkout.decide.coupons import counted, next_use
from checkout.model import Coupon

COUPON = Coupon(
    code="SPRING", percent_basis_points=1000, amounts_off=None, minimums={}, max_redemptions=2, held=1, redeemed=0,
    valid_from=None, valid_until=None,
)  # fmt: skip
USED_UP = replace(COUPON, redeemed=1)
UNLIMITED = replace(COUPON, max_redemptions=None, redeemed=99)


@pytest.mark.parametrize(
    ("now", "wanted", "coupon", "after"),
    [
        ("held", "redeemed", USED_UP, "redeemed"),
        ("held", "released", COUPON, "released"),
        ("redeemed", "released", COUPON, "released"),
        ("released", "redeemed", COUPON, "redeemed"),
        ("released", "redeemed", UNLIMITED, "redeemed"),
        ("released", "redeemed", USED_UP, "honoured"),
        ("honoured", "redeemed", COUPON, "honoured"),
        ("honoured", "released", COUPON, "released"),
        ("released", "held", COUPON, "released"),
        ("redeemed", "held", COUPON, "redeemed"),
        ("held", "held", COUPON, "held"),
    ],
)
def test_late_money_takes_a_use_that_is_free_and_is_honoured_without_one(
    now: str, wanted: str, coupon: Coupon, after: str
) -> None:
    assert next_use(now, wanted, coupon) == after


@pytest.mark.parametrize(
    ("now", "after", "held", "redeemed"),
    [
        ("held", "redeemed", 0, 2),
        ("held", "released", 0, 1),
        ("redeemed", "released", 1, 0),
        ("released", "redeemed", 1, 2),
        ("released", "honoured", 1, 1),
        ("held", "held", 1, 1),
    ],
)
def test_each_use_is_counted_where_it_is(now: str, after: str, held: int, redeemed: int) -> None:
    coupon = counted(USED_UP, now, after)

    assert (coupon.held, coupon.redeemed) == (held, redeemed)
