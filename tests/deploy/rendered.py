"""Prometheus's rules for a day that goes by faster: all that is a time in them, divided by a factor."""

import re
from typing import Final

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
