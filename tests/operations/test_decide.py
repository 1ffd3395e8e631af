"""Whatever stands in a dead letter's headers, it is kept."""

from datetime import UTC, datetime

import pytest

from operations.decide.reading import read

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "attempts"),
    [("3", 3), (3, 3), ("²", 1), ("-1", 1), ("99999999999999999999", 1), ("", 1), (None, 1), (b"\xff", 1), ([], 1)],
)
def test_an_odd_number_of_attempts_is_one(header: object, attempts: int) -> None:
    headers = {"pay-fault-reason": "exhausted", "pay-fault-attempts": header}

    letter = read(
        service="refunds", message_id="m", declared_type="t", correlation_id=None, headers=headers, body=b"", now=NOW
    )

    assert letter.attempts == attempts


@pytest.mark.parametrize("time", ["yesterday", "2026-01-01T00:00:00", "", None, 5])
def test_a_time_that_cannot_be_read_is_now(time: object) -> None:
    headers = {"pay-fault-reason": "exhausted", "pay-fault-failed-at": time}

    letter = read(
        service="refunds", message_id="m", declared_type="t", correlation_id=None, headers=headers, body=b"", now=NOW
    )

    assert letter.last_failed_at == NOW
