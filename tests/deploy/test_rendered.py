"""Rules for a faster day: the same ones, with every time in them divided."""

import re

import pytest
import yaml

from tests.deploy.monitored import RULES_FILE
from tests.deploy.rendered import deciding, quickened, seconds

RULES = RULES_FILE.read_text(encoding="utf-8")
SPANS = re.compile(r"(?:\bfor: |\binterval: |\[)(\d+(?:ms|s|m|h|d))\b")


def times(rules: str) -> list[float]:
    """Every `for`, interval and range, in seconds."""
    return [seconds(span) for span in SPANS.findall(rules)]


def test_a_day_of_the_usual_length_has_the_rules_as_they_are() -> None:
    assert quickened(RULES, 1) == RULES


@pytest.mark.parametrize("factor", [5, 15, 30])
def test_every_for_interval_and_range_is_divided(factor: int) -> None:
    assert len(times(RULES)) > 60
    assert times(quickened(RULES, factor)) == [pytest.approx(time / factor) for time in times(RULES)]


def test_nothing_but_numbers_changes() -> None:
    def bare(rules: str) -> str:
        return re.sub(r"\d+(\.\d+)?(ms|s|m|h|d)?\b", "N", rules)

    assert bare(quickened(RULES, 30)) == bare(RULES)
    assert yaml.safe_load(quickened(RULES, 30)).keys() == yaml.safe_load(RULES).keys()


@pytest.mark.parametrize(
    ("usual", "faster"),
    [
        ("for: 1m", "for: 2s"),
        ("interval: 15s", "interval: 500ms"),
        ("rate(payments_x_total[5m])", "rate(payments_x_total[10s])"),
        ("avg_over_time(objective:bad:rate5m[3d])", "avg_over_time(objective:bad:rate5m[144m])"),
        ("sum_over_time(objective:bad:rate5m[1h]) * 15 >= 3", "sum_over_time(objective:bad:rate5m[2m]) * 0.5 >= 3"),
        ("max by (service) (payments_outbox_oldest_seconds) > 60", "max by (service) (payments_outbox_oldest_seconds) > 2"),
        ("min by (service) (payments_disputes_due_seconds) < 172800", "min by (service) (payments_disputes_due_seconds) < 5760"),
    ],
)  # fmt: skip
def test_what_is_a_time_is_divided(usual: str, faster: str) -> None:
    assert quickened(usual, 30) == faster


@pytest.mark.parametrize(
    "text",
    [
        "time() - min by (service) (payments_secret_created_timestamp_seconds) > 365 * 86400",
        "sum by (service) (increase(payments_dead_letters_published_total)) > 20",
        'payments_payment_reflected_seconds_bucket{le="5.0"}',
        'queue=~".+\\\\.retry\\\\.600000"',
        "> 14.4 * objective:budget",
    ],
)
def test_what_is_no_time_of_the_rules_stays(text: str) -> None:
    assert quickened(text, 30) == text


def test_the_rules_that_decide_about_an_alert_are_its_group_and_what_that_asks_for() -> None:
    rules = """
groups:
  - {name: outages, rules: [{record: outage:broker, expr: up == 0}]}
  - {name: shares, rules: [{record: share:late, expr: late / share:all}]}
  - {name: counts, rules: [{record: share:all, expr: sum(all)}]}
  - {name: payments, rules: [{alert: Late, expr: share:late > 1}, {alert: Lost, expr: lost > 0 unless outage:broker}]}
  - {name: mails, rules: [{alert: Unsent, expr: unsent > 0}]}
"""

    def named(*alerts: str) -> list[str]:
        return [group["name"] for group in yaml.safe_load(deciding(rules, alerts))["groups"]]

    assert named("Unsent") == ["mails"]
    assert named("Late") == ["outages", "shares", "counts", "payments"]
    assert named() == []
