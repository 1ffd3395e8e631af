"""What a coupon takes off, for whom, and what becomes of a use of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checkout.decide.coupons import check_taxed_alike, counted, discount_of, next_use
from checkout.model.carts import Coupon, PricedLine, Standing
from payments_shared.errors import Refused

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LINES = (PricedLine("MUG", "Mug", 2, 1800), PricedLine("PEN", "Pen", 3, 333))
COUPON = Coupon("SPRING", 1000, None, max_redemptions=2, held=1)
AMOUNT = Coupon("FIVE", None, {"usd": 500, "jpy": 700}, minimums={"usd": 4599})
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
    assert next_use(now, wanted, coupon, others=0) == after


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


@pytest.mark.parametrize(
    ("limits", "others", "after"),
    [
        ({"per_customer": 1}, 1, "honoured"),
        ({"per_customer": 2}, 1, "redeemed"),
        ({"per_customer": 2}, 2, "honoured"),
        ({"first_order_only": True}, 0, "redeemed"),
        ({"first_order_only": True}, 1, "honoured"),
        ({}, 9, "redeemed"),
    ],
)
def test_late_money_of_a_customer_who_used_the_coupon_meanwhile_is_honoured(
    limits: dict[str, Any], others: int, after: str
) -> None:
    assert next_use("released", "redeemed", replace(UNLIMITED, **limits), others) == after


@pytest.mark.parametrize(
    ("coupon", "currency", "off"),
    [
        (COUPON, "usd", 460),  # a tenth of 45.99, half a cent up
        (replace(COUPON, skus=["PEN"]), "usd", 100),
        (replace(COUPON, skus=["PEN", "CUP"], percent_basis_points=10000), "usd", 999),
        (COUPON, "isk", 400),  # ISK has no parts of a unit that could be charged
        (replace(AMOUNT, minimums={}, amounts_off={"kwd": 455}), "kwd", 450),  # and of KWD the last digit is zero
        (AMOUNT, "usd", 500),
        (replace(AMOUNT, minimums={}), "jpy", 700),
        (replace(AMOUNT, skus=["PEN"], amounts_off={"usd": 1000}), "usd", 999),
        (replace(AMOUNT, amounts_off={"usd": 9999}), "usd", 4599),
        (replace(AMOUNT, minimums={}, amounts_off={"isk": 450}), "isk", 400),
        (replace(AMOUNT, minimums={}, skus=["PEN"], amounts_off={"ugx": 9900}), "ugx", 900),
        (replace(COUPON, valid_from=NOW, valid_until=NOW + timedelta(seconds=1)), "usd", 460),
        (replace(COUPON, per_customer=1, first_order_only=True), "usd", 460),
    ],
)
def test_a_coupon_takes_off_what_it_says_and_never_more_than_the_lines_it_is_for(
    coupon: Coupon, currency: str, off: int
) -> None:
    assert discount_of(coupon, Standing(), LINES, currency=currency, now=NOW) == off


@pytest.mark.parametrize(
    ("coupon", "standing", "code"),
    [
        (replace(COUPON, active=False), Standing(), "coupon_invalid"),
        (replace(COUPON, valid_from=NOW + timedelta(seconds=1)), Standing(), "coupon_invalid"),
        (replace(COUPON, valid_until=NOW), Standing(), "coupon_invalid"),
        (replace(COUPON, minimums={"usd": 4600}), Standing(), "coupon_invalid"),
        (replace(COUPON, skus=["CUP"]), Standing(), "coupon_invalid"),
        (replace(AMOUNT, amounts_off={"eur": 500}), Standing(), "coupon_not_in_currency"),
        (replace(COUPON, minimums={"eur": 100}), Standing(), "coupon_not_in_currency"),
        (replace(COUPON, first_order_only=True), Standing(has_ordered=True), "coupon_invalid"),
        (replace(COUPON, first_order_only=True), Standing(first_order_uses=1), "coupon_used"),
        (replace(COUPON, per_customer=2), Standing(uses=2), "coupon_used"),
        (USED_UP, Standing(), "coupon_exhausted"),
        (replace(USED_UP, per_customer=1), Standing(uses=1), "coupon_exhausted"),
    ],
)
def test_a_coupon_that_does_not_apply_says_so(coupon: Coupon, standing: Standing, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        discount_of(coupon, standing, LINES, currency="usd", now=NOW)

    assert (refusal.value.code, refusal.value.errors[0].pointer) == (code, "/coupon")
    assert refusal.value.status == (422 if code in ("coupon_invalid", "coupon_not_in_currency") else 409)


def test_a_use_of_his_own_is_free_again_below_the_limit() -> None:
    assert discount_of(replace(COUPON, per_customer=2), Standing(uses=1), LINES, currency="usd", now=NOW) == 460


@pytest.mark.parametrize(
    ("skus", "codes", "is_right"),
    [
        (None, ("A", None), True),
        (["MUG", "PEN"], ("A", None), True),
        (["MUG"], ("A", "A"), True),
        (["MUG"], (None, None), True),
        (["MUG"], ("A", "B"), False),
        (["PEN"], (None, "B"), False),
    ],
)
def test_stripe_tax_takes_no_coupon_that_would_lower_the_tax_of_other_products(
    skus: list[str] | None, codes: tuple[str | None, str | None], is_right: bool
) -> None:
    lines = [replace(line, tax_code=code) for line, code in zip(LINES, codes, strict=True)]
    if is_right:
        check_taxed_alike(replace(COUPON, skus=skus), lines)
        return
    with pytest.raises(Refused) as refusal:
        check_taxed_alike(replace(COUPON, skus=skus), lines)
    assert (refusal.value.code, refusal.value.status) == ("coupon_invalid", 422)
    assert refusal.value.errors[0].pointer == "/coupon"
