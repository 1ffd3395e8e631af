"""What could not run is never lost in silence."""

import pytest

from tests.support.left_out import judges, left_out, struck, what_was_left_out


def _report(outcome: str, longrepr: object, **properties: object) -> pytest.TestReport:
    report = pytest.TestReport("tests/a.py::test_it", ("tests/a.py", 1, "test_it"), {}, outcome, longrepr, "call")  # type: ignore[arg-type]
    report.user_properties = list(properties.items())
    return report


def test_in_ci_what_is_missing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="not available: a browser"):
        left_out("a browser")


def test_elsewhere_it_is_said_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        left_out("a browser")
    reports = [
        _report("skipped", ("tests/a.py", 1, f"Skipped: {skipped.value}")),
        _report("skipped", ("tests/a.py", 1, "Skipped: for another reason")),
    ]

    assert list(what_was_left_out(reports)) == ["tests/a.py::test_it: a browser"]


def test_each_judge_is_named_once() -> None:
    reports = [_report("passed", None, judged_by="a"), _report("passed", None, judged_by="a", other="b")]

    assert judges(reports) == ["a"]


def test_every_fault_is_told_with_the_work_in_flight() -> None:
    reports = [_report("passed", None, struck="killed checkout, in flight {'buyers': 3}"), _report("passed", None)]

    assert list(struck(reports)) == ["test_it: killed checkout, in flight {'buyers': 3}"]
