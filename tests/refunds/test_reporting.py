"""What refunds come to, and who stands out."""

from datetime import UTC, date, datetime

import pytest

from payments_shared.errors import Refused
from refunds.decide.reporting import marked, window
from refunds.model.patterns import Rate
from refunds.model.reports import Group, Grouping

NOW = datetime(2026, 8, 26, 12, tzinfo=UTC)
SHOP = Rate(refunded=50, orders=1000)


def a_group(name: str, requests: int = 1, rate: Rate = SHOP, suspicious: int = 0) -> Group:
    return Group(name, requests, {"usd": 100}, rate, 0, suspicious, 0, 0, ())


@pytest.mark.parametrize(
    ("since", "until", "first", "after"),
    [
        (None, None, date(2026, 7, 28), date(2026, 8, 27)),
        (date(2026, 8, 1), None, date(2026, 8, 1), date(2026, 8, 27)),
        (date(2026, 8, 1), date(2026, 8, 1), date(2026, 8, 1), date(2026, 8, 2)),
        (date(2025, 8, 26), date(2026, 8, 26), date(2025, 8, 26), date(2026, 8, 27)),
        (None, date(2026, 1, 30), date(2026, 1, 1), date(2026, 1, 31)),
    ],
)
def test_a_report_is_of_whole_days(since: date | None, until: date | None, first: date, after: date) -> None:
    found = window(since, until, NOW)

    assert (found.since.date(), found.until.date()) == (first, after)
    assert found.since.utcoffset() == found.until.utcoffset() == NOW.utcoffset()


@pytest.mark.parametrize(
    ("since", "until"),
    [(date(2026, 8, 2), date(2026, 8, 1)), (date(2025, 8, 25), date(2026, 8, 26)), (date(2027, 1, 1), None)],
)
def test_a_report_is_of_a_year_at_most_and_of_no_time_that_ends_before_it_begins(
    since: date, until: date | None
) -> None:
    with pytest.raises(Refused) as refused:
        window(since, until, NOW)

    assert (refused.value.code, refused.value.status) == ("window_invalid", 422)


def test_an_operator_stands_out_against_his_colleagues_alone() -> None:
    colleagues = [a_group(name, 10) for name in ("ann", "abe", "eve")]

    stands_out = marked([a_group("system:shortfall", 900), *colleagues, a_group("sam", 31)], Grouping.OPERATOR, SHOP)
    usual = marked([*colleagues, a_group("sam", 30)], Grouping.OPERATOR, SHOP)
    alone = marked([a_group("ann", 1), a_group("abe", 1), a_group("sam", 500)], Grouping.OPERATOR, SHOP)

    assert [(group.name, [mark.signal for mark in group.marks]) for group in stands_out[:2]] == [
        ("sam", ["operator_velocity"]),
        ("system:shortfall", []),
    ]
    assert not any(group.marks for group in (*usual, *alone))


@pytest.mark.parametrize(
    ("by", "rate", "signal"),
    [
        (Grouping.CUSTOMER, Rate(3, 4), "customer_refund_rate"),
        (Grouping.CUSTOMER, Rate(2, 2), None),
        (Grouping.CUSTOMER, Rate(3, 40), None),
        (Grouping.PRODUCT, Rate(5, 20), "product_refund_rate"),
        (Grouping.PRODUCT, Rate(4, 19), None),
        (Grouping.PRODUCT, Rate(10, 100), None),
        (Grouping.REASON, Rate(900, 1000), None),
    ],
)
def test_who_is_refunded_far_more_often_than_others_stands_out(by: Grouping, rate: Rate, signal: str | None) -> None:
    first, *_ = marked([a_group("large", 99, SHOP), a_group("one", 5, rate)], by, SHOP)

    assert [mark.signal for mark in first.marks] == ([signal] if signal else [])
    assert first.name == ("one" if signal else "large")


def test_where_the_shop_has_sold_little_nobody_stands_out() -> None:
    young = Rate(refunded=1, orders=99)

    assert not any(group.marks for group in marked([a_group("one", 5, Rate(4, 4))], Grouping.CUSTOMER, young))


def test_what_stands_out_comes_first_then_what_is_suspicious_then_what_is_large() -> None:
    groups = [a_group("large", 50), a_group("odd", 2, suspicious=1), a_group("marked", 4, Rate(4, 4))]

    assert [group.name for group in marked(groups, Grouping.CUSTOMER, SHOP)] == ["marked", "odd", "large"]
