"""What goes on with a message that failed: what a person needs, in a frame that the broker takes, and nothing else."""

from datetime import UTC, datetime
from typing import Any

import pytest

from payments_shared.errors import Poison, Retryable
from payments_shared.messaging.envelope import Undecodable
from payments_shared.messaging.recoverability import (
    ATTEMPT,
    FIRST_FAILED_AT,
    MESSAGE_MAX_BYTES,
    STACK_MAX_BYTES,
    Failure,
    Forged,
    Forgotten,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TIERS = (5_000, 30_000)


def failed(error: BaseException, headers: dict[str, Any] | None = None) -> Failure:
    try:
        raise error
    except BaseException as caught:
        return Failure(caught, "refunds", "refunds.work", "h", "type.v1", headers or {}, "pay.events", "key", NOW)


def size(headers: dict[str, Any]) -> int:
    return sum(len(name.encode()) + len(str(value).encode()) for name, value in headers.items())


def test_a_dead_letter_says_where_why_how_often_and_since_when() -> None:
    headers = failed(Poison("no_such_thing", "Never."), {ATTEMPT: 3, FIRST_FAILED_AT: "2026-01-01"}).fault_headers()

    assert headers.keys() == {"pay-origin-exchange", "pay-origin-routing-key"} | {
        "pay-fault-" + name
        for name in (
            "service", "queue", "handler", "reason", "exception-type", "exception-message", "stack", "fingerprint",
            "attempts", "first-failed-at", "failed-at", "host", "code-version",
        )
    }  # fmt: skip
    assert headers["pay-fault-exception-type"] == "payments_shared.errors.Poison"
    assert headers["pay-fault-exception-message"] == "no_such_thing: Never."
    assert (headers["pay-fault-attempts"], headers["pay-fault-first-failed-at"]) == (3, "2026-01-01")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Undecodable("x"), "undecodable"), (Forged("x"), "forged"), (Forgotten("x"), "forgotten"),
        (Poison("x", "x"), "permanent"), (Retryable("x", "x"), "exhausted"), (KeyError("x"), "exhausted"),
    ],
)  # fmt: skip
def test_each_kind_of_failure_has_its_reason(error: Exception, reason: str) -> None:
    assert failed(error).fault_headers()["pay-fault-reason"] == reason
    assert (failed(error).next_tier_ms(TIERS) is None) == (reason != "exhausted"), "only those are tried again"


@pytest.mark.parametrize("text", ["a" * 200_000, "ä" * 100_000, "\ud800" * 50_000, "\x00" * 50_000])
def test_the_headers_of_a_dead_letter_fit_a_frame_whatever_failed(text: str) -> None:
    """A header of 200 KB ended the whole connection, and the message came again on the next."""
    odd = type("E" * 5_000, (Exception,), {})(text)
    headers: dict[str, Any] = dict.fromkeys(("other", "pay-replay-id", FIRST_FAILED_AT), text)

    found = failed(odd, headers).fault_headers()

    assert size(found) < 16 * 1024
    assert size(failed(odd, headers).retry_headers()) < 2 * 1024
    assert len(found["pay-fault-exception-message"].encode()) <= MESSAGE_MAX_BYTES
    assert len(found["pay-fault-stack"].encode()) <= STACK_MAX_BYTES
    assert "raise error" in found["pay-fault-stack"]


def test_nothing_that_is_the_brokers_goes_on() -> None:
    """A copied x-death made the broker drop the message as a cycle, when a tier gave it back."""
    headers = {"x-death": [{"queue": "q"}], "x-first-death-reason": "expired", "pay-replay-id": "1", "traceparent": "2"}

    assert failed(KeyError("x"), headers).retry_headers().keys() == {"pay-replay-id", ATTEMPT, FIRST_FAILED_AT}
    assert not any(name.startswith("x-") for name in failed(KeyError("x"), headers).fault_headers())


@pytest.mark.parametrize("odd", ["many", -1, 0, None, 1.5, [1]])
def test_attempts_are_counted_by_ourselves_and_an_odd_count_is_the_first(odd: object) -> None:
    assert failed(KeyError("x"), {ATTEMPT: odd, "x-delivery-count": 7}).retry_headers()[ATTEMPT] == 2
    assert failed(KeyError("x"), {ATTEMPT: 2}).retry_headers()[ATTEMPT] == 3
