"""What a webhook request is: Stripe's or not, usable or not, ours or not; and which part of Stripe's list of events is
looked through next. Pure."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from payments_shared.contracts.stripe import partition_key
from webhook_ingest.model import Event, Outcome, Policy, Rejection, Secret, Span, State

TOLERANCE_SECONDS: Final = 300
HEADER_MAX: Final = 1024
_HEADER: Final = re.compile(r"t=(\d{1,12})((?:,v\d=[0-9a-f]{1,128}){1,8})", re.ASCII)
_EVENT_ID: Final = re.compile(r"evt_[A-Za-z0-9_]{1,250}", re.ASCII)
_TYPE: Final = re.compile(r"[a-z0-9_.]{1,100}", re.ASCII)
_ORDER_ID: Final = re.compile(r"ord_[0-9a-f]{32}", re.ASCII)
KEY_MAX: Final = 200
CREATED_MIN: Final = 1_300_000_000  # before Stripe existed
CREATED_MAX: Final = 32_000_000_000  # beyond any date that a column holds sensibly

KEPT: Final = timedelta(days=30)
"""How long Stripe keeps events. Source: Stripe API, "List all events"."""

TYPES_MAX: Final = 20
"""How many types may be asked for at once. Source: Stripe API, "List all events", `types`."""

OVERLAP: Final = timedelta(hours=1)  # what Stripe lists late is still met by the next look
SPAN_MAX: Final = timedelta(days=1)  # what a look loses that breaks off; beyond the overlap, or it would stand still


def verify(header: str, body: bytes, secrets: Sequence[Secret], now: datetime) -> int | Rejection:
    """The index of the secret that signed `body`, or why it was not Stripe.

    The timestamp is checked on both sides, after the signature: a header dated into the future would otherwise be
    good for ever. Every active secret is tried, in constant time.
    Source: Stripe, "Verify webhook signatures manually".
    """
    match = _HEADER.fullmatch(header) if len(header) <= HEADER_MAX else None
    if match is None:
        return Rejection.HEADER
    given = [part[3:].encode() for part in match[2].split(",") if part.startswith("v1=")]
    signed = match[1].encode() + b"." + body
    found = -1
    for index, secret in enumerate(secrets):
        if secret.not_after is not None and secret.not_after < now:
            continue
        expected = hmac.digest(secret.value, signed, "sha256").hex().encode()
        for candidate in given:
            if hmac.compare_digest(expected, candidate) and found < 0:
                found = index
    if found < 0:
        return Rejection.SIGNATURE
    if abs(now.timestamp() - int(match[1])) > TOLERANCE_SECONDS:
        return Rejection.TIMESTAMP
    return found


def unusable(raw: bytes, reason: str, today: date) -> Event:
    """An event that is Stripe's and that we cannot read. It is named by its bytes, so that a repeat meets it."""
    return Event(
        event_id="dead_" + hashlib.sha256(raw).hexdigest(),
        day=today,
        type="unknown",
        state=State.DEAD,
        raw=raw,
        reason=reason,
    )


def classify(value: Any, raw: bytes, policy: Policy, today: date) -> Event:  # Any: JSON
    """The event in `value`, the parsed form of `raw`."""
    if not isinstance(value, dict):
        return unusable(raw, "not an object", today)
    fault = _envelope_fault(value)
    if fault is not None:
        return unusable(raw, fault, today)
    subject: dict[str, Any] = value["data"]["object"]
    created = datetime.fromtimestamp(value["created"], tz=UTC)
    key = partition_key(subject)[:KEY_MAX]
    state, reason = _verdict(value, policy)
    object_id = subject.get("id")
    return Event(
        value["id"],
        created.date(),
        value["type"],
        state,
        raw,
        reason,
        object_id if isinstance(object_id, str) and object_id.isprintable() else None,
        value["livemode"],
        value.get("account"),
        value.get("api_version"),
        created,
        key,
        key if key.startswith("ord_") and _ORDER_ID.fullmatch(key) else None,
    )


def outcome(event: Event, policy: Policy) -> Outcome:
    """What a new event is counted as."""
    if event.state is State.DEAD:
        return Outcome.DEAD
    if event.livemode is not policy.livemode:
        return Outcome.WRONG_MODE
    if event.account not in policy.accounts:
        return Outcome.FOREIGN_ACCOUNT
    if event.api_version != policy.api_version:
        return Outcome.OTHER_VERSION
    return Outcome.PROCESSED if event.state is State.PROCESSED else Outcome.IGNORED


def spans(looked_until: datetime, end: datetime) -> list[Span]:
    """What of Stripe's list is looked through next, up to `end`: spans of a day at most, the oldest first, no gaps.

    They begin an hour before where the last look came to, and no longer ago than Stripe keeps events. There are none
    when that look went an hour further than `end`.
    """
    begin = max(end - KEPT, looked_until - OVERLAP)
    found: list[Span] = []
    while begin < end:
        until = min(end, begin + SPAN_MAX)
        found.append(Span(begin, until))
        begin = until
    return found


def askable(types: Iterable[str]) -> list[tuple[str, ...]]:
    """All of `types`, in as many lists as Stripe must be asked for."""
    ordered = sorted(types)
    return [tuple(ordered[begin : begin + TYPES_MAX]) for begin in range(0, len(ordered), TYPES_MAX)]


def _envelope_fault(value: Mapping[str, Any]) -> str | None:
    data, created = value.get("data"), value.get("created")
    good = (
        ("object is not event", value.get("object") == "event"),
        ("id", _matches(_EVENT_ID, value.get("id"))),
        ("type", _matches(_TYPE, value.get("type"))),
        ("livemode", isinstance(value.get("livemode"), bool)),
        ("created", type(created) is int and CREATED_MIN <= created <= CREATED_MAX),
        ("data.object", isinstance(data, dict) and isinstance(data.get("object"), dict)),
        ("account", _text_or_absent(value.get("account"))),
        ("api_version", _text_or_absent(value.get("api_version"))),
    )
    for name, is_good in good:
        if not is_good:
            return f"malformed {name}"
    return None


def _text_or_absent(value: object) -> bool:
    return value is None or isinstance(value, str)


def _matches(pattern: "re.Pattern[str]", value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _verdict(value: Mapping[str, Any], policy: Policy) -> tuple[State, str | None]:
    if value["livemode"] is not policy.livemode:
        return State.IGNORED, "wrong mode"
    if value.get("account") not in policy.accounts:
        return State.IGNORED, "foreign account"
    if value["type"] not in policy.heard:
        return State.IGNORED, "no subscriber"
    return State.PROCESSED, None
