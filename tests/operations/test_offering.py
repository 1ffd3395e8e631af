"""What the console offers about a refund that is put off, and to whom."""

from datetime import UTC, datetime
from typing import Final

import pytest

from operations.decide.offering import is_put_off, takes_back
from operations.model.people import Access

PUT_OFF: Final = ("approved", "stopped")
ENDED: Final = [("failed", None), ("canceled", None), ("rejected", None)]


def who(subject: str, *roles: str) -> Access:
    return Access("the-token", subject, datetime(2026, 1, 1, tzinfo=UTC), frozenset(roles))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([PUT_OFF], True),
        ([PUT_OFF, PUT_OFF], True),
        ([PUT_OFF, *ENDED], True),
        (ENDED, False),
        ([("approved", None)], False),
        ([("approved", "disputed")], False),
        ([("submitted", "stopped")], False),
        ([("awaiting_approval", None)], False),
        ([PUT_OFF, ("succeeded", None)], False),
        ([PUT_OFF, ("approved", None)], False),
    ],
)
def test_put_off_is_what_waits_whole_for_the_switch(parts: list[tuple[str, str | None]], expected: bool) -> None:
    refund = {"parts": [{"status": status, "pending_reason": why} for status, why in parts]}

    assert is_put_off(refund) is expected


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (who("nora", "operator", "admin"), True),
        (who("sam", "viewer", "support"), True),
        (who("sue", "viewer", "support"), False),
        (who("sam", "operator", "approver", "viewer"), False),
        (who("sam"), False),
    ],
)
def test_it_is_taken_back_by_an_administrator_or_by_whoever_asked(access: Access, expected: bool) -> None:
    assert takes_back({"requester": "sam"}, access) is expected
