"""What a dead letter says about itself. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from operations.model import DeadLetter
from payments_shared.ids import derived_id

FAULT: Final = "pay-fault-"
DIGITS_MAX: Final = 9  # an attempt's number that no column could hold is none


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
    by_broker = "reason" not in fault
    reason = _text(headers.get("x-first-death-reason")) or "delivery_limit" if by_broker else fault["reason"]
    queue = fault.get("queue") or _text(headers.get("x-first-death-queue")) or f"{service}.events"
    known_id = message_id or f"unnamed:{derived_id('body', body.hex())}"
    return DeadLetter(
        id=dead_letter_id(known_id, service),
        message_id=known_id,
        service=service,
        queue=queue,
        type=declared_type,
        correlation_id=correlation_id,
        reason=reason,
        fingerprint=fault.get("fingerprint") or f"{reason}:{declared_type}",
        exception_type=fault.get("exception-type"),
        exception_message=fault.get("exception-message"),
        handler=fault.get("handler"),
        stack=fault.get("stack"),
        attempts=_number(fault.get("attempts")),
        first_failed_at=_time(fault.get("first-failed-at")),
        last_failed_at=_time(fault.get("failed-at")) or _death_time(headers) or now,
        headers={name: _json(value) for name, value in headers.items()},
        body=body,
    )


def _text(value: Any) -> str:  # Any: AMQP table values
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value).replace("\x00", "")


def _number(text: str | None) -> int:
    plausible = text is not None and text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    return int(text) if text is not None and plausible else 1


def _time(text: str | None) -> datetime | None:
    try:
        value = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return value if value is not None and value.tzinfo is not None else None


def _death_time(headers: Mapping[str, Any]) -> datetime | None:
    deaths = headers.get("x-death")
    at = deaths[0].get("time") if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else None
    return (
        at.replace(tzinfo=UTC)
        if isinstance(at, datetime) and at.tzinfo is None
        else at
        if isinstance(at, datetime)
        else None
    )


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


def clean_headers(headers: Mapping[str, Any], *, replay_id: UUID, dead_letter: UUID) -> dict[str, Any]:
    """Headers of a replay: none of the broker's, none of the fault's, and the mark that makes success be told."""
    dropped = ("x-", FAULT, "pay-attempt", "pay-first-failed-at", "pay-origin-", "pay-replay-")
    kept = {name: value for name, value in headers.items() if not name.startswith(dropped)}
    return kept | {"pay-replay-id": str(replay_id), "pay-replay-of": str(dead_letter)}
