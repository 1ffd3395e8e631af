"""Whatever stands in a dead letter's headers, it is kept; and what becomes of it is decided without any server."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.decide import editing, replaying
from operations.decide.reading import dead_letter_id, read
from operations.model.letters import Standing, Status
from operations.model.replays import Outcome, Told
from payments_shared.errors import Refused
from payments_shared.redaction import REDACTED, redacted

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


@pytest.mark.parametrize(
    ("said", "type_", "kept"),
    [
        ("ab", "t", "ab"),
        ("x" * 300, "t", "x" * 255),
        ("a\u202eb\nc", "t", "a?b?c"),
        ("", "tée", "exhausted:t?e"),
        (None, "t" * 300, "exhausted:" + "t" * 245),
    ],
)
def test_a_fingerprint_can_stand_in_an_address(said: str | None, type_: str, kept: str) -> None:
    headers = {"pay-fault-reason": "exhausted", "pay-fault-fingerprint": said}

    letter = read(
        service="refunds", message_id="m", declared_type=type_, correlation_id=None, headers=headers, body=b"", now=NOW
    )

    assert letter.fingerprint == kept


@pytest.mark.parametrize("time", ["yesterday", "2026-01-01T00:00:00", "", None, 5])
def test_a_time_that_cannot_be_read_is_now(time: object) -> None:
    headers = {"pay-fault-reason": "exhausted", "pay-fault-failed-at": time}

    letter = read(
        service="refunds", message_id="m", declared_type="t", correlation_id=None, headers=headers, body=b"", now=NOW
    )

    assert letter.last_failed_at == NOW


# -- whatever a header holds ------------------------------------------------------------------------------------------

TEXT = st.text(max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT | st.binary(max_size=20) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAME = TEXT | st.sampled_from(
    [
        "x-death",
        "pay-replay-id",
        *(f"pay-fault-{name}" for name in ("reason", "queue", "failed-at", "attempts", "stack")),
    ]
)


@given(headers=st.dictionaries(NAME, VALUE, max_size=6), message_id=TEXT, declared=TEXT, body=st.binary(max_size=40))
def test_every_value_is_one_that_the_database_takes(
    headers: dict[str, object], message_id: str, declared: str, body: bytes
) -> None:
    letter = read(
        service="refunds", message_id=message_id, declared_type=declared, correlation_id=None, headers=headers, body=body,
        now=NOW,
    )  # fmt: skip

    texts = [
        letter.message_id,
        letter.type,
        letter.reason,
        letter.fingerprint,
        letter.stack or "",
        json.dumps(letter.headers),
    ]
    assert all("\x00" not in text and text.encode() is not None for text in texts)
    assert "\\u0000" not in json.dumps(letter.headers)
    assert letter.queue in ("refunds.events", "refunds.work")
    assert letter.last_failed_at <= NOW + timedelta(days=1)


def test_the_latest_death_counts_not_that_in_a_retry_tier() -> None:
    """The broker's list begins with the latest; what it calls the first death was the tier's way of working."""
    deaths = [
        {"reason": "delivery_limit", "queue": "refunds.work", "time": datetime(2025, 12, 31, tzinfo=UTC)},
        {"reason": "expired", "queue": "refunds.retry.5000", "time": datetime(2025, 12, 30, tzinfo=UTC)},
    ]
    headers = {"x-death": deaths, "x-first-death-reason": "expired", "x-first-death-queue": "refunds.retry.5000"}

    letter = read(
        service="refunds", message_id="m", declared_type="t", correlation_id=None, headers=headers, body=b"", now=NOW
    )

    assert (letter.reason, letter.queue, letter.fingerprint) == ("delivery_limit", "refunds.work", "delivery_limit:t")
    assert letter.last_failed_at == datetime(2025, 12, 31, tzinfo=UTC)


def test_a_forgery_never_becomes_the_dead_letter_of_the_message_it_imitates() -> None:
    true, forged = (
        read(
            service="refunds", message_id="m", declared_type="t", correlation_id=None,
            headers={"pay-fault-reason": reason}, body=body, now=NOW,
        )
        for reason, body in (("exhausted", b"true"), ("forged", b"false"))
    )  # fmt: skip

    assert true.id == dead_letter_id("m", "refunds")
    assert forged.id != true.id


# -- how many go at once ----------------------------------------------------------------------------------------------


def test_a_service_that_was_left_alone_starts_with_one_and_gets_no_more_than_its_rate() -> None:
    given, now, sent = None, NOW, 0
    for _ in range(1000):  # ten seconds, in turns of ten milliseconds
        share = replaying.share(given, now=now, rate=50, at_most=200)
        given, sent, now = share.given_until, sent + share.messages, now + timedelta(milliseconds=10)

    assert 495 <= sent <= 501


@given(
    turns=st.lists(
        st.tuples(st.floats(0, 5), st.integers(0, 300), st.sampled_from([0.5, 10.0, 50.0, 1000.0])), max_size=40
    )
)
def test_no_turns_give_more_than_rate_and_one_second_s_delay(turns: list[tuple[float, int, float]]) -> None:
    given, now, seconds, fastest, sent = None, NOW, 0.0, 0.0, 0
    for pause, at_most, rate in turns:
        now, seconds, fastest = now + timedelta(seconds=pause), seconds + pause, max(fastest, rate)
        share = replaying.share(given, now=now, rate=rate, at_most=at_most)
        assert share.messages <= min(at_most, replaying.BATCH_MAX)
        given, sent = (share.given_until, sent + share.messages) if share.messages else (given, sent)

    assert sent <= (seconds + replaying.CATCH_UP_SECONDS) * fastest + len(turns) + 1


@pytest.mark.parametrize("rate", [0.01, 3.0, 7.0, 30.0, 60.0, 333.3, 999.0, 1000.0])
def test_each_rate_begins_at_once(rate: float) -> None:
    assert replaying.share(None, now=NOW, rate=rate, at_most=200).messages == 1


def test_a_slow_rate_is_slow() -> None:
    first = replaying.share(None, now=NOW, rate=0.1, at_most=200)
    soon = replaying.share(first.given_until, now=NOW + timedelta(seconds=5), rate=0.1, at_most=200)

    assert (first.messages, soon.messages) == (1, 0)


# -- what a failure means ---------------------------------------------------------------------------------------------

OURS, ANOTHER = UUID(int=1), UUID(int=2)
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "replay_id", "failed_at", "stands"),
    [
        ("open", None, NOW, "open"),
        ("open", OURS, NOW, "open"),
        ("replaying", OURS, NOW, "open"),
        ("replaying", ANOTHER, NOW, "replaying"),
        ("replaying", None, NOW, "replaying"),
        ("resolved", None, EARLIER, "resolved"),
        ("resolved", None, LATER, "open"),
        ("resolved", OURS, LATER, "resolved"),
        ("discarded", None, EARLIER, "discarded"),
        ("discarded", None, LATER, "open"),
        ("discarded", OURS, LATER, "discarded"),
    ],
)
def test_where_a_dead_letter_stands_after_a_failure(
    status: str, replay_id: UUID | None, failed_at: datetime, stands: str
) -> None:
    known = Standing(UUID(int=9), Status(status), OURS if status == "replaying" else None, NOW, b"")
    headers = {"pay-fault-reason": "exhausted", "pay-fault-failed-at": failed_at.isoformat()}
    if replay_id is not None:
        headers["pay-replay-id"] = str(replay_id)
    failed = read(
        service="refunds", message_id="m", declared_type="t", correlation_id=None, headers=headers, body=b"", now=NOW
    )

    assert replaying.after_failure(known, failed) == stands


# -- what an answer means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "before", "answer", "item"),
    [
        ("applied", None, "applied", "resolved"),
        ("duplicate", None, "duplicate", "resolved"),
        ("duplicate", "applied", "duplicate", "resolved"),
        ("refused", None, "refused", "refused"),
        ("duplicate", "refused", "refused", "refused"),
        ("applied", "refused", "applied", "resolved"),
    ],
)
def test_a_duplicate_of_what_was_refused_took_no_effect_either(
    told: str, before: str | None, answer: str, item: str
) -> None:
    """The last one: a service that has forgotten what it refused takes it anew."""
    answered = replaying.answer(Outcome(told), Outcome(before) if before else None)

    assert (answered, replaying.item_state(answered)) == (answer, item)


@pytest.mark.parametrize(
    ("status", "told", "shown"),
    [
        ("resolved", ["refused"], "refused"),
        ("resolved", ["refused", "applied"], "applied"),
        ("resolved", [], None),
        ("open", ["applied"], None),
        ("replaying", ["refused"], None),
    ],
)
def test_the_last_answer_is_shown_of_what_is_resolved(status: str, told: list[str], shown: str | None) -> None:
    audit = [{"action": "resolved", "reason": one} for one in told]

    assert replaying.last_answer(Status(status), [*audit, {"action": "archive", "reason": "applied"}]) == shown


@pytest.mark.parametrize(
    ("told", "pauses"),
    [
        ([("failed", "a")] * 11, True),
        ([("failed", "a")] * 10, False),
        ([("failed", "a")] * 10 + [("failed", "b")] * 10, False),
        ([("applied", None)] * 39 + [("failed", "a")] * 11, True),
        ([("applied", None)] * 50, False),
        ([], False),
    ],
)
def test_more_than_a_fifth_of_the_last_fifty_failing_in_one_way_is_too_many(
    told: list[tuple[str, str | None]], pauses: bool
) -> None:
    assert replaying.fails_again([Told(outcome, fingerprint) for outcome, fingerprint in told]) == (
        "a" if pauses else None
    )


# -- what an edit changes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, [("/a", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [("/a", 1, 1.0)]),
        ({"a": 1}, {}, [("/a", 1, None)]),
        ({}, {"a": None}, [("/a", None, None)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("/a/1", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [("/a", [1], [1, 2])]),
        ({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, [("/a~1b/~0", 1, 2)]),
    ],
)
def test_changes_are_found_where_they_are(
    before: object, after: object, found: list[tuple[str, object, object]]
) -> None:
    assert list(editing.changes(before, after)) == found


def test_money_is_locked_wherever_it_stands() -> None:
    original: dict[str, Any] = {
        "id": str(UUID(int=7)),
        "type": "order.paid.v1",
        "data": {"lines": [{"sku": "A", "amount_minor": 5}], "note": "x"},
    }
    longer = {
        **original,
        "data": {**original["data"], "lines": [*original["data"]["lines"], {"sku": "B", "amount_minor": 1}]},
    }

    with pytest.raises(Refused) as refusal:
        editing.refuse_locked(original, longer, message_id=str(UUID(int=7)), type_="order.paid.v1")

    assert [error.pointer for error in refusal.value.errors] == ["/data/lines"]
    for changed in ({"sku": "B"}, {"quantity": 2}):
        line = {**original["data"]["lines"][0], **changed}
        with pytest.raises(Refused):
            editing.refuse_locked(
                original,
                {**original, "data": {**original["data"], "lines": [line]}},
                message_id=str(UUID(int=7)),
                type_="order.paid.v1",
            )
    noted = {**original, "data": {**original["data"], "note": "y"}}
    changes = editing.refuse_locked(original, noted, message_id=str(UUID(int=7)), type_="order.paid.v1")
    assert changes == [{"pointer": "/data/note", "from": "x", "to": "y"}]


ENDED: Mapping[str, Any] = {
    "id": str(UUID(int=7)),
    "type": "order.expired.v1",
    "data": {"recovery": {"token": "t0p", "expires_at": 1}, "said": ["see pi_1_secret_a", "x"], "note": "x"},
}


def edited(**data: Any) -> dict[str, Any]:
    """A copy of what an operator was shown, with other data."""
    shown = redacted(ENDED)
    return {**shown, "data": {**shown["data"], **data}}


def judged(copy: dict[str, Any]) -> list[dict[str, Any]]:
    whole = editing.restored(ENDED, copy)
    return editing.refuse_locked(dict(ENDED), whole, message_id=str(UUID(int=7)), type_="order.expired.v1")


def test_what_was_not_shown_stays_where_it_was_left() -> None:
    assert "t0p" not in str(edited())
    assert editing.restored(ENDED, edited()) == ENDED
    assert editing.restored(ENDED, edited(note="y"))["data"] == {**ENDED["data"], "note": "y"}
    assert judged(edited(note="y")) == [{"pointer": "/data/note", "from": "x", "to": "y"}]
    with pytest.raises(Refused, match="nothing_changed"):
        judged(edited())


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({"recovery": {"token": "mine", "expires_at": 1}}, "/data/recovery/token"),
        ({"recovery": {"token": None, "expires_at": 1}}, "/data/recovery/token"),
        ({"recovery": {"expires_at": 1}}, "/data/recovery/token"),
        ({"recovery": None}, "/data/recovery"),
        ({"said": ["x", REDACTED]}, "/data/said/0"),
        ({"said": [REDACTED]}, "/data/said"),
        ({"said": ["see pi_2_secret_b", "x"]}, "/data/said/0"),
        ({"note": REDACTED}, "/data/note"),
        ({"note": {REDACTED: 1}}, "/data/note"),
        ({REDACTED: 1}, f"/data/{REDACTED}"),
        ({"deep": [{"client_secret": "mine"}]}, "/data/deep"),
    ],
)
def test_what_is_secret_is_locked_wherever_it_stands(data: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Refused) as refusal:
        judged(edited(**data))

    assert refusal.value.code == "locked_field"
    assert pointer in [error.pointer for error in refusal.value.errors]
    assert "t0p" not in str(refusal.value.errors)


def test_no_refusal_tells_a_secret_that_is_a_name() -> None:
    original = {**ENDED, "data": {"by": {"pi_1_secret_abc": 1}}}

    with pytest.raises(Refused) as refusal:
        editing.refuse_locked(
            original, editing.restored(original, redacted(original)), message_id=str(UUID(int=7)), type_=ENDED["type"]
        )

    assert f"/data/by/{REDACTED}" in [error.pointer for error in refusal.value.errors]
    assert "secret_abc" not in str(refusal.value.errors)


def test_what_stands_for_a_secret_is_no_message_where_nobody_can_read_the_original() -> None:
    with pytest.raises(Refused) as refusal:
        editing.refuse_locked(None, edited(), message_id=str(UUID(int=7)), type_="order.expired.v1")

    assert "/data" in [error.pointer for error in refusal.value.errors]


@pytest.mark.parametrize(
    "name",
    [
        "account",
        "payment_intent",
        "payment_method",
        "refund_id",
        "request_id",
        "dispute_id",
        "stripe_refund_id",
        "destination",
        "sku",
        "quantity",
    ],
)
def test_whose_and_what_for_money_is_stays(name: str) -> None:
    original: dict[str, Any] = {"id": str(UUID(int=7)), "type": "order.paid.v1", "data": {"deep": [{name: "one"}]}}
    wrong: list[dict[str, Any]] = [{"deep": [{name: "two"}]}, {"deep": [{}]}, {"deep": []}, {}]

    for data in wrong:
        with pytest.raises(Refused) as refusal:
            editing.refuse_locked(
                original, {**original, "data": data}, message_id=str(UUID(int=7)), type_="order.paid.v1"
            )
        assert refusal.value.code == "locked_field"
