"""Money is exact."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payments_shared import money
from payments_shared.money import CurrencyMismatch, Money, NotChargeable

AMOUNTS = st.integers(0, 10**12)


@given(AMOUNTS, st.lists(st.integers(0, 10**6), min_size=1, max_size=50).filter(any))
@example(39, [3, 31, 5])  # three thirty-ninths of 39 are less than three to a computer's fractions
def test_an_allocation_loses_nothing_and_is_nobodys_favourite(total: int, weights: list[int]) -> None:
    parts = money.allocate(total, weights)

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)
    by_weight = sorted(zip(weights, parts, strict=True))
    assert all(lighter <= heavier for (a, lighter), (b, heavier) in pairwise(by_weight) if a < b)
    assert money.allocate(-total, weights) == tuple(-part for part in parts)


@pytest.mark.parametrize("weights", [(0, 0), (-1, 2), ()])
def test_what_cannot_be_allocated_is_an_error(weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="weights"):
        money.allocate(1, weights)


@given(AMOUNTS, st.integers(0, 10_000))
def test_a_percentage_is_rounded_half_up_once(amount: int, basis_points: int) -> None:
    share = money.percentage(amount, basis_points)

    assert 0 <= share <= amount
    assert -5_000 < share * 10_000 - amount * basis_points <= 5_000


def test_minor_units_have_the_decimals_that_stripe_counts() -> None:
    assert [money.exponent(c) for c in ("usd", "jpy", "kwd", "isk", "ugx")] == [2, 0, 3, 2, 2]
    for wrong in ("USD", "xxx", "", "us"):
        with pytest.raises(ValueError, match="unknown currency"):
            money.exponent(wrong)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["usd", "jpy", "kwd"]))
def test_major_and_minor_units_are_the_same_amount(amount: int, currency: str) -> None:
    assert money.to_minor(money.to_decimal(Money(amount, currency)), currency) == amount


@pytest.mark.parametrize(
    ("amount", "currency"), [("1.005", "usd"), ("0.5", "jpy"), ("NaN", "usd"), ("Infinity", "usd")]
)
def test_what_is_finer_than_the_currency_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValueError, match="decimals"):
        money.to_minor(Decimal(amount), currency)


def test_currencies_do_not_mix_and_floats_are_not_money() -> None:
    with pytest.raises(CurrencyMismatch):
        Money(1, "usd") + Money(1, "eur")
    with pytest.raises(TypeError):
        Money(1.0, "usd")  # type: ignore[arg-type] # the point of the test
    with pytest.raises(TypeError):
        Money(True, "usd")
    with pytest.raises(TypeError):
        Money(1, "usd") * 1.5  # type: ignore[operator] # the point of the test


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "usd", "total_too_small"), (0, "usd", "total_too_small"), (-1, "usd", "total_too_small"),
        (100_000_000, "usd", "total_too_large"), (150, "isk", "not_payable"), (5124, "kwd", "not_payable"),
    ],
)  # fmt: skip
def test_what_stripe_would_refuse_is_refused_before(amount: int, currency: str, code: str) -> None:
    with pytest.raises(NotChargeable) as refusal:
        money.check_chargeable(Money(amount, currency), maximum_minor=99_999_999)

    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("shown", "currency", "charged"),
    [
        ("500", "jpy", 500), ("10.00", "usd", 1000), ("1000", "isk", 100_000), ("5", "ugx", 500), ("5", "mga", 5),
        ("5.12", "kwd", 5120), ("10.45", "huf", 1045), ("8.00", "twd", 800),
    ],
)  # fmt: skip
def test_special_cases_are_charged_as_stripe_counts_them(shown: str, currency: str, charged: int) -> None:
    assert money.to_minor(Decimal(shown), currency) == charged
    assert charged % money.payable_unit(currency) == 0


@pytest.mark.parametrize("currency", sorted(money.SUPPORTED))
def test_every_currency_says_by_what_steps_it_can_be_charged(currency: str) -> None:
    unit = money.payable_unit(currency)

    amount = 100 * max(money.MINIMUM_MINOR.get(currency, 1), 100)
    money.check_chargeable(Money(amount + unit, currency))
    assert unit in (1, 10, 100)
    if unit > 1:
        with pytest.raises(NotChargeable, match="multiples"):
            money.check_chargeable(Money(amount + 1, currency))


def test_what_stripe_takes_passes() -> None:
    money.check_chargeable(Money(50, "usd"))
    money.check_chargeable(Money(99_999_999, "usd"))
