"""What a webhook request is: the exact edges of time, of secrets and of numbers, without a server."""

import hashlib
import hmac
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from payments_shared.contracts.stripe import EVENT_TYPES
from payments_shared.stripe_client import STRIPE_VERSION
from webhook_ingest import app
from webhook_ingest.decide import (
    CREATED_MAX,
    CREATED_MIN,
    KEPT,
    OVERLAP,
    SPAN_MAX,
    TYPES_MAX,
    askable,
    classify,
    outcome,
    spans,
    verify,
)
from webhook_ingest.model import Event, Outcome, Policy, Rejection, Secret, Span, State

NOW = datetime(2026, 9, 1, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BODY = b'{"id": "evt_1"}'
OLD, NEW = b"whsec_old_secret", b"whsec_new_secret"
POLICY = Policy(False, "2026-08-26.dahlia", frozenset({None, "acct_ours"}), frozenset({"payment_intent.succeeded"}))


def header(secret: bytes, *, moment: str | None = None, body: bytes = BODY) -> str:
    text = moment or str(int(NOW.timestamp()))
    return f"t={text},v1=" + hmac.new(secret, text.encode() + b"." + body, hashlib.sha256).hexdigest()


def at(seconds: int) -> str:
    return header(NEW, moment=str(int(NOW.timestamp()) + seconds))


# -- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-300, -299, -1, 0, 1, 299, 300])
def test_a_timestamp_up_to_300_seconds_away_is_taken(offset: int) -> None:
    assert verify(at(offset), BODY, [Secret(NEW)], NOW) == 0


@pytest.mark.parametrize("offset", [-(10**9), -3600, -301, 301, 3600, 100 * 365 * 86_400])
def test_a_timestamp_more_than_300_seconds_away_is_refused_on_both_sides(offset: int) -> None:
    assert verify(at(offset), BODY, [Secret(NEW)], NOW) is Rejection.TIMESTAMP


@pytest.mark.parametrize("offset", [-301, 301])
def test_a_wrong_signature_is_refused_as_such_whatever_its_time(offset: int) -> None:
    assert verify(at(offset), BODY + b" ", [Secret(NEW)], NOW) is Rejection.SIGNATURE


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_both_secrets_are_good_while_they_are_exchanged() -> None:
    secrets = [Secret(NEW), Secret(OLD, not_after=NOW + SECOND)]

    assert verify(header(NEW), BODY, secrets, NOW) == 0
    assert verify(header(OLD), BODY, secrets, NOW) == 1


def test_the_old_secret_is_good_until_the_end_of_its_time_and_not_a_moment_longer() -> None:
    secrets = [Secret(NEW), Secret(OLD, not_after=NOW)]

    assert verify(header(OLD), BODY, secrets, NOW) == 1
    assert verify(header(OLD), BODY, secrets, NOW + timedelta(microseconds=1)) is Rejection.SIGNATURE
    assert verify(header(NEW), BODY, secrets, NOW + SECOND) == 0


def test_a_header_with_a_candidate_for_each_secret_is_taken() -> None:
    both = header(OLD) + "," + header(NEW).partition(",")[2]

    assert verify(both, BODY, [Secret(NEW)], NOW) == 0
    assert verify(both, BODY, [Secret(NEW), Secret(OLD, not_after=NOW - SECOND)], NOW) == 0


def test_an_unknown_secret_is_refused() -> None:
    assert verify(header(b"whsec_stranger"), BODY, [Secret(NEW), Secret(OLD)], NOW) is Rejection.SIGNATURE


# -- the header ------------------------------------------------------------------------------------------------------

SECONDS = str(int(NOW.timestamp()))


@pytest.mark.parametrize(
    "moment",
    [
        "+" + SECONDS,
        "-" + SECONDS,
        SECONDS[0] + "_" + SECONDS[1:],
        " " + SECONDS,
        SECONDS + "\t",
        SECONDS + ".0",
        "0x6895d5c0",
        "000" + SECONDS,
        SECONDS.translate({ord("0") + n: 0x660 + n for n in range(10)}),
    ],
)
def test_a_time_that_only_a_lenient_parser_would_read_is_refused_although_it_is_signed(moment: str) -> None:
    assert verify(header(NEW, moment=moment), BODY, [Secret(NEW)], NOW) is Rejection.HEADER


def test_eight_candidates_are_tried_and_nine_are_refused() -> None:
    moment, _, good = header(NEW).partition(",")

    assert verify(",".join([moment, *["v1=00"] * 7, good]), BODY, [Secret(NEW)], NOW) == 0
    assert verify(",".join([moment, *["v1=00"] * 8, good]), BODY, [Secret(NEW)], NOW) is Rejection.HEADER


# -- events ----------------------------------------------------------------------------------------------------------


def event(**given: Any) -> Event:
    value = {
        "id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "created": CREATED_MIN, "livemode": False,
        "api_version": POLICY.api_version, "data": {"object": {"id": "pi_1"}},
    }  # fmt: skip
    return classify({**value, **given}, b"raw", POLICY, date(2026, 9, 1))


@pytest.mark.parametrize(
    ("given", "state", "counted"),
    [
        ({}, State.PROCESSED, Outcome.PROCESSED),
        ({"account": "acct_ours"}, State.PROCESSED, Outcome.PROCESSED),
        ({"type": "customer.created"}, State.IGNORED, Outcome.IGNORED),
        ({"api_version": "2025-01-01"}, State.PROCESSED, Outcome.OTHER_VERSION),
        ({"api_version": None}, State.PROCESSED, Outcome.OTHER_VERSION),
        ({"api_version": "2025-01-01", "type": "customer.created"}, State.IGNORED, Outcome.OTHER_VERSION),
        ({"livemode": True}, State.IGNORED, Outcome.WRONG_MODE),
        ({"livemode": True, "account": "acct_x", "api_version": None}, State.IGNORED, Outcome.WRONG_MODE),
        ({"account": "acct_x"}, State.IGNORED, Outcome.FOREIGN_ACCOUNT),
        ({"account": "", "api_version": None}, State.IGNORED, Outcome.FOREIGN_ACCOUNT),
        ({"livemode": 1}, State.DEAD, Outcome.DEAD),
        ({"account": 1}, State.DEAD, Outcome.DEAD),
        ({"api_version": 1}, State.DEAD, Outcome.DEAD),
    ],
)
def test_an_event_is_counted_by_the_first_thing_that_is_not_as_expected(
    given: dict[str, Any], state: State, counted: Outcome
) -> None:
    found = event(**given)

    assert (found.state, outcome(found, POLICY)) == (state, counted)


@pytest.mark.parametrize("created", [CREATED_MIN - 1, CREATED_MAX + 1, True, 1.5, -1, "1790000000", None])
def test_a_time_of_creation_that_cannot_be_is_dead(created: object) -> None:
    assert event(created=created).reason == "malformed created"


@pytest.mark.parametrize("created", [CREATED_MIN, CREATED_MAX])
def test_a_time_of_creation_at_either_edge_is_taken(created: int) -> None:
    assert event(created=created).state is State.PROCESSED


def test_the_version_that_is_expected_is_the_one_that_our_own_calls_ask_for() -> None:
    assert app.STRIPE_VERSION == STRIPE_VERSION


# -- what of Stripe's list is looked through ---------------------------------------------------------------------------


def test_a_look_an_hour_after_another_is_one_span_that_overlaps() -> None:
    hour = timedelta(hours=1)

    assert spans(NOW - hour, NOW) == [Span(NOW - hour - OVERLAP, NOW)]


@pytest.mark.parametrize("away", [timedelta(0), SECOND, timedelta(hours=23), timedelta(days=10), timedelta(days=29)])
def test_spans_leave_no_gap_and_are_a_day_at_most(away: timedelta) -> None:
    found = spans(NOW - away, NOW)

    assert (found[0].since, found[-1].until) == (NOW - away - OVERLAP, NOW)
    assert [one.until for one in found[:-1]] == [one.since for one in found[1:]]
    assert all(timedelta(0) < one.until - one.since <= SPAN_MAX for one in found)


def test_a_look_that_breaks_off_after_one_span_has_come_further() -> None:
    """Each that follows begins where it came to, less the overlap: a longer overlap would never arrive."""
    until, looks = NOW - timedelta(days=10), 0
    while until < NOW:
        until, looks = spans(until, NOW)[0].until, looks + 1

    assert looks == 11


def test_after_an_absence_that_stripe_does_not_remember_the_look_begins_with_what_it_does() -> None:
    found = spans(NOW - timedelta(days=400), NOW)

    assert (found[0].since, found[-1].until) == (NOW - KEPT, NOW)


def test_nothing_is_looked_through_that_lies_behind_the_last_look() -> None:
    assert spans(NOW + OVERLAP, NOW) == []


def test_every_type_that_somebody_hears_is_asked_for_once_and_no_more_than_stripe_takes_at_a_time() -> None:
    lists = askable(EVENT_TYPES)

    assert sorted(one for types in lists for one in types) == sorted(EVENT_TYPES)
    assert all(0 < len(types) <= TYPES_MAX for types in lists)
