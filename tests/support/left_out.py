"""Tests that could not run because something is missing: a failure in CI, and elsewhere said loudly at the end."""

import os
from collections.abc import Iterable, Iterator
from typing import Final, NoReturn

import pytest

MARK: Final = "LEFT OUT: "


def left_out(missing: str) -> NoReturn:
    """End this test, because `missing` could not be had on this machine. Under `CI=true` that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"not available: {missing}", pytrace=False)
    pytest.skip(MARK + missing)


def what_was_left_out(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """The tests that were left out, and what each of them misses. Workers' reports say it too."""
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if MARK in reason:
            yield f"{report.nodeid}: {reason.partition(MARK)[2]}"


def judges(reports: Iterable[pytest.TestReport]) -> list[str]:
    """What tests recorded as `judged_by`: whose word their verdicts rest on."""
    found = {str(value) for report in reports for name, value in report.user_properties if name == "judged_by"}
    return sorted(found)
