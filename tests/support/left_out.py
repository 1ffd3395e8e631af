"""What a run says at its end: what was left out (in CI a failure), who judged, and what was struck by which fault."""

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


def struck(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """What tests recorded as `struck`: each fault with the work that was in flight when it struck, and the load."""
    for report in reports:
        for name, value in report.user_properties:
            if name == "struck":
                yield f"{report.nodeid.rpartition('::')[2]}: {value}"
