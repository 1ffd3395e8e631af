"""Prometheus's rules for a day that goes by faster: all that is a time in them, divided by a factor. And those of them
alone that decide about some alerts."""

import re
from collections.abc import Collection
from typing import Final

import yaml

_MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN: Final = r"(?P<span>\d+(?:ms|s|m|h|d))"
_NUMBER: Final = r"(?P<number>\d+)"
_SPANS: Final = (
    re.compile(rf"(?P<before>\b(?:for|keep_firing_for|interval): ){_SPAN}\b"),
    re.compile(rf"(?P<before>\[){_SPAN}(?=\])"),
)
_SECONDS: Final = (
    # An age that grows with the clock; not a day on the calendar.
    re.compile(rf"(?P<before>\bpayments_(?!\w*timestamp)\w+_seconds\) [<>] ){_NUMBER}\b"),
    # The group's interval, by which a sum over its rounds becomes a count.
    re.compile(rf"(?P<before>\]\) \* ){_NUMBER}(?= >= )"),
)


def quickened(rules: str, factor: float) -> str:
    """`rules` with every `for`, interval, range and age divided by `factor`. Counts, shares, and seconds within which
    something must be answered stay."""
    for pattern in _SPANS:
        rules = pattern.sub(lambda found: found["before"] + _span(_milliseconds(found["span"]) / factor), rules)
    for pattern in _SECONDS:
        rules = pattern.sub(lambda found: found["before"] + f"{int(found['number']) / factor:.10g}", rules)
    return rules


def deciding(rules: str, alerts: Collection[str]) -> str:
    """The groups of `rules` in which `alerts` are, and those that record what these ask for."""
    groups = yaml.safe_load(rules)["groups"]
    records = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    wanted = set(alerts)
    while True:
        chosen = [g for g in groups if any(rule.get("alert", rule.get("record")) in wanted for rule in g["rules"])]
        asked = {record for record in records for group in chosen for rule in group["rules"] if record in rule["expr"]}
        if asked <= wanted:
            return yaml.safe_dump({"groups": chosen}, sort_keys=False, width=1000)
        wanted |= asked


def seconds(span: str) -> float:
    """A duration as rules have them, such as `5m`."""
    return _milliseconds(span) / 1_000


def _milliseconds(span: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([a-z]+)", span).groups()  # type: ignore[union-attr] # it is a span
    return int(number) * _MILLISECONDS[unit]


def _span(milliseconds: float) -> str:
    """In the largest unit of which it is a whole number."""
    whole = max(1, round(milliseconds))
    unit = next(name for name, size in reversed(_MILLISECONDS.items()) if whole % size == 0)
    return f"{whole // _MILLISECONDS[unit]}{unit}"
