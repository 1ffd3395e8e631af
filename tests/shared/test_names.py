"""Identifiers and envelopes read back as they were written, and nothing else is taken for one."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_shared import ids
from payments_shared.messaging.envelope import BODY_MAX_BYTES, Envelope, Undecodable, decode, encode, routing_key

ENVELOPE = Envelope(
    ids.new_id(), "payments/checkout", "order.paid.v1", "ord_1", datetime(2026, 1, 1, tzinfo=UTC), "ord_1"
)


@given(st.uuids())
def test_an_id_reads_back_as_it_was_shown(value: UUID) -> None:
    assert ids.parse_external_id("ord", ids.external_id("ord", value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ord_",
        "shp_" + "0" * 32,
        "ord_" + "0" * 31,
        "ord_" + "0" * 33,
        "ord_" + "G" * 32,
        "ord_" + "A" * 32,
        "0" * 32,
    ],
)
def test_what_is_no_id_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"identifier|hexadecimal"):
        ids.parse_external_id("ord", text)


def test_new_ids_are_unique_and_in_order_of_time() -> None:
    made = [ids.new_id() for _ in range(10_000)]

    assert len(set(made)) == len(made)
    assert made == sorted(made)
    assert {value.version for value in made} == {7}


def test_the_same_cause_names_the_same_effect() -> None:
    assert ids.derived_id("a", "bc") == ids.derived_id("a", "bc")
    assert ids.derived_id("a", "bc") != ids.derived_id("ab", "c")


@given(st.text(max_size=40), st.text(max_size=40), st.integers() | st.none())
def test_an_envelope_reads_back_as_it_was_written(subject: str, key: str, sequence: int | None) -> None:
    envelope = Envelope(
        ids.new_id(), "payments/checkout", "order.paid.v1", subject, datetime(2026, 1, 1, tzinfo=UTC), key,
        sequence=sequence, correlationid="ord_1",
    )  # fmt: skip

    assert decode(encode(envelope, b'{"a":[1,null]}')) == (envelope, {"a": [1, None]})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b"\xff\xfe", b"{" * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        encode(ENVELOPE, b"{}").replace(b'"1.0"', b'"2.0"'),
        encode(ENVELOPE, b"{}").replace(b"+00:00", b""),
        encode(ENVELOPE, b"{}").replace(str(ENVELOPE.id).encode(), b"1"),
        b" " * (BODY_MAX_BYTES + 1),
    ],
)  # fmt: skip
def test_what_is_no_envelope_is_undecodable_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(body)


def test_a_body_too_large_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        encode(ENVELOPE, b'"' + b"x" * BODY_MAX_BYTES + b'"')


def test_an_aggregate_keeps_to_one_bucket_and_aggregates_spread() -> None:
    keys: list[Any] = [routing_key("order.paid.v1", f"ord_{n}") for n in range(1000)]

    assert routing_key("order.paid.v1", "ord_1") == routing_key("order.paid.v1", "ord_1")
    assert len(set(keys)) > 10
    assert all(key.startswith("order.paid.v1.b") for key in keys)
