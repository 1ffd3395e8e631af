"""What a search takes a text for, how the story of an order is told, and what services are seen to say."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from operations.decide import searching, telling
from operations.decide.searching import Kind
from operations.gateway.services import read
from operations.model.letters import Position
from operations.routes.console import forms
from operations.settings import Settings

ORDER = "ord_" + "0" * 32
START = datetime(2026, 8, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"  {ORDER}\n", Kind.ORDER),
        ("ord_" + "G" * 32, Kind.REFERENCE),
        ("pi_3PabcDEF12345678", Kind.REFERENCE),
        ("cs_test_a1B2c3D4e5F6", Kind.REFERENCE),
        ("01890a5d-ac96-774b-bcce-b302099a8057", Kind.ID),
        ("01890A5DAC96774BBCCEB302099A8057", Kind.ID),
        ("ada@example.com", Kind.ADDRESS),
        ("cus_QabcDEF12345", Kind.REFERENCE),
        ("auth0|5f7c8ec7c33c6c004bbafe82", Kind.ACCOUNT),
        ("customer-17", Kind.ACCOUNT),
        ("Ada Lovelace", Kind.NOTHING),
        ("customer-\u200b17", Kind.NOTHING),
        ("", Kind.NOTHING),
        ("' OR 1=1 --", Kind.NOTHING),
        ("x" * 1000, Kind.NOTHING),
    ],
)
def test_a_text_is_taken_for_what_it_can_be(text: str, kind: Kind) -> None:
    assert searching.read(text).kind is kind


def said(number: int, at: int, cause: int | None = None) -> dict[str, object]:
    return {
        "message_id": UUID(int=number), "order_id": ORDER, "type": f"t{number}", "source": "payments/checkout", "subject": "s",
        "causation_id": None if cause is None else str(UUID(int=cause)), "time": START + timedelta(seconds=at), "data": {},
    }  # fmt: skip


def told(*messages: dict[str, object]) -> list[int]:
    return [line.id.int for line in telling.story(messages, [])]


def test_a_story_is_told_in_order_with_causes_first() -> None:
    assert told(said(3, 9, cause=1), said(1, 0), said(2, 5, cause=1)) == [1, 2, 3]
    assert told(said(2, 0, cause=1), said(1, 0), said(3, 0, cause=2)) == [1, 2, 3]
    assert told(said(2, 0, cause=1), said(1, 1)) == [1, 2], "clocks differ"


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 9)), max_size=10))
def test_nothing_of_a_story_is_lost_or_told_twice(made: list[tuple[int, int | None]]) -> None:
    """Also where causes are missing, or go round in a circle."""
    messages = [said(number, at, cause) for number, (at, cause) in enumerate(made)]

    assert sorted(told(*messages)) == list(range(len(made)))


def test_a_line_names_its_cause_and_a_failure_where_it_stands() -> None:
    letter = {
        "id": UUID(int=9),
        "service": "inventory",
        "type": "t1",
        "status": "open",
        "reason": "poison",
        "last_failed_at": START,
    }

    lines = telling.story([said(1, 0), said(2, 1, cause=1), said(3, 2, cause=7)], [letter])

    assert [(line.id.int, line.cause.type if line.cause else None) for line in lines if line.status is None] == [
        (1, None), (2, "t1"), (3, None),
    ]  # fmt: skip
    assert [(line.who, line.status) for line in lines if line.status] == [("inventory", "open")]


def test_a_root_says_whose_it_is_and_a_cause_of_another_order_stands_in_the_story() -> None:
    stripes = {**said(1, 0), "type": "stripe.charge.dispute.created", "order_id": None}

    lines = telling.story([stripes, said(2, 1, cause=1), said(3, 2)], [])

    assert [(line.cause is None, line.from_stripe, line.order_id) for line in lines] == [
        (True, True, None), (False, False, ORDER), (True, False, ORDER),
    ]  # fmt: skip
    assert lines[1].cause == telling.Cause(str(UUID(int=1)), "stripe.charge.dispute.created")


EXPOSITION = """\
# HELP payments_ready 1 while the check of readiness passes; asked with every exposition.
# TYPE payments_ready gauge
payments_ready{check="database"} 1.0
payments_ready{check="relay"} 0.0
payments_outbox_depth 12.0
payments_outbox_oldest_seconds 3.5
payments_orders_held{reason="review"} 2.0
payments_orders_held{reason="amount"} 0.0
payments_http_requests_total{route="/x",method="GET",status="200"} 7.0
"""


def test_a_service_is_read_by_its_exposition() -> None:
    state = read("checkout", EXPOSITION)

    assert (state.failing, state.outbox_depth, state.outbox_oldest_seconds) == (("relay",), 12, 3.5)
    assert state.orders_held == {"review": 2}
    assert read("checkout", "").outbox_depth is None
    with pytest.raises(ValueError, match=r".*"):
        read("checkout", "payments_outbox_depth many")


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_where_a_page_ended_reads_back_as_it_was_written(at: datetime, letter_id: UUID) -> None:
    position = Position(at, letter_id)

    assert forms.read_position(forms.written_position(position)) == position


@pytest.mark.parametrize("text", ["", "~", "2026-01-01T00:00:00~" + "0" * 32, "x~y", "2026-01-01T00:00:00+00:00~1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        forms.read_position(text)


# -- settings --------------------------------------------------------------------------------------------------------

NEEDED = {"database_url": "postgresql://x@y/z", "amqp_url": "amqp://x@y:5672/z"}
SERVED = {"console_url": "https://console.example", "oidc_issuer": "https://login.example"}


def test_the_console_is_served_once_it_has_a_place_and_an_issuer() -> None:
    urls = "checkout=http://checkout:9000,refunds=http://refunds:9000"

    settings = Settings.model_validate({**NEEDED, **SERVED, "service_urls": urls, "livemode": True})

    assert settings.service_urls == {"checkout": "http://checkout:9000", "refunds": "http://refunds:9000"}
    assert Settings.model_validate(NEEDED).console_url is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"oidc_issuer": None}, "oidc_issuer"),
        ({"console_url": "https://console.example/"}, "console_url"),
        ({"console_url": "console.example"}, "console_url"),
        ({"livemode": True, "console_url": "http://console.example"}, "console_url"),
        ({"livemode": True, "oidc_issuer": "http://login.example"}, "oidc_issuer"),
        ({"oidc_issuer": "https://user:pass@login.example"}, "oidc_issuer"),
        ({"oidc_client_secret": "short"}, "oidc_client_secret"),
        ({"oidc_scope": "profile email"}, "oidc_scope"),
        ({"staff_url": "refunds:8000"}, "staff_url"),
        ({"service_urls": "ledger=http://ledger:9000"}, "service_urls"),
        ({"session_seconds": 0}, "session_seconds"),
    ],
)
def test_a_console_that_would_not_be_safe_is_not_started(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({**NEEDED, **SERVED, **changes})

    assert [problem["loc"][0] for problem in refused.value.errors()] == [named]
