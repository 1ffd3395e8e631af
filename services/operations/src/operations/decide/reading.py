"""What a dead letter says about itself. Pure.

Whatever stands in it must be kept: every value is made one that its column can hold.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from operations.model.letters import DeadLetter
from payments_shared.ids import derived_id

FAULT: Final = "pay-fault-"
REPLAY_ID: Final = "pay-replay-id"
FORGED: Final = "forged"
DOUBTFUL: Final = frozenset({FORGED, "forgotten"})  # nobody but a person can say whether it may go back
FINGERPRINT_MAX: Final = 255
DIGITS_MAX: Final = 9  # an attempt's number that no column could hold is none
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
CLOCKS_DIFFER: Final = timedelta(days=1)


def dead_letter_id(message_id: str, service: str) -> UUID:
    """The same for every failure of one message in one service."""
    return derived_id("dead_letter", message_id, service)


def read(
    *,
    service: str,
    message_id: str,
    declared_type: str,
    correlation_id: str | None,
    headers: Mapping[str, Any],  # Any: AMQP table values
    body: bytes,
    now: datetime,
) -> DeadLetter:
    """The dead letter in a delivery. Whatever is missing or malformed is replaced, and never an error: what cannot be
    read must still be kept."""
    fault = {name.removeprefix(FAULT): _text(value) for name, value in headers.items() if name.startswith(FAULT)}
    death = _last_death(headers)
    by_broker = "reason" not in fault
    reason = _text(death.get("reason")) or "delivery_limit" if by_broker else fault["reason"]
    queue = _text(death.get("queue")) if by_broker else fault.get("queue", "")
    known_id = _text(message_id) or f"unnamed:{derived_id('body', body.hex())}"
    # A forged message may bear the id of a true one, whose dead letter it must not become.
    identity = f"{FORGED}:{known_id}:{derived_id('body', body.hex())}" if reason == FORGED else known_id
    type_ = _text(declared_type)
    return DeadLetter(
        id=dead_letter_id(identity, service),
        message_id=known_id,
        service=service,
        # A name from a header is no reason to publish anywhere else than to the queues of the service that failed.
        queue=queue if queue in (f"{service}.events", f"{service}.work") else f"{service}.events",
        type=type_,
        correlation_id=None if correlation_id is None else _text(correlation_id),
        reason=reason,
        fingerprint=_fingerprint(fault.get("fingerprint") or f"{reason}:{type_}"),
        exception_type=fault.get("exception-type"),
        exception_message=fault.get("exception-message"),
        handler=fault.get("handler"),
        stack=fault.get("stack"),
        attempts=_number(fault.get("attempts")),
        first_failed_at=_time(fault.get("first-failed-at"), now),
        last_failed_at=_time(fault.get("failed-at"), now) or _death_time(death, now) or now,
        headers={_text(name): _json(value) for name, value in headers.items()},
        body=body,
        replay_id=_uuid(headers.get(REPLAY_ID)),
    )


def _last_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: AMQP table values
    """The broker's own note on why it moved the message. The latest stands first: an earlier one may be of a retry
    tier, whose way of working is to let messages die."""
    deaths = headers.get("x-death")
    return deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}


def _text(value: Any) -> str:  # Any: AMQP table values
    text = value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value
    plain = "" if text is None else str(text).replace("\x00", "")
    return plain.encode(errors="replace").decode()


def _fingerprint(text: str) -> str:
    """What can stand in an address and be searched for by."""
    return "".join(one if " " <= one <= "~" else "?" for one in text[:FINGERPRINT_MAX])


def _number(text: str | None) -> int:
    plausible = text is not None and text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    return int(text) if text is not None and plausible else 1


def _uuid(value: Any) -> UUID | None:  # Any: AMQP table values
    try:
        return UUID(_text(value))
    except ValueError:
        return None


def _time(text: str | None, now: datetime) -> datetime | None:
    try:
        value = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return _plausible(value, now)


def _death_time(death: Mapping[str, Any], now: datetime) -> datetime | None:  # Any: AMQP table values
    at = death.get("time")
    if not isinstance(at, datetime):
        return None
    return _plausible(at.replace(tzinfo=UTC) if at.tzinfo is None else at, now)


def _plausible(value: datetime | None, now: datetime) -> datetime | None:
    zoned = value is not None and value.tzinfo is not None and EARLIEST <= value <= now + CLOCKS_DIFFER
    return value if zoned else None


def _json(value: Any) -> Any:  # Any: AMQP table values
    match value:
        case None | bool() | int() | float():
            return value
        case list() | tuple():
            return [_json(item) for item in value]
        case dict():
            return {_text(key): _json(item) for key, item in value.items()}
        case datetime():
            return value.isoformat()
        case _:
            return _text(value)
