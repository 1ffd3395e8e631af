"""W3C trace context: read from requests and messages, carried through the outbox, written to the next hop."""

import re
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final
from uuid import UUID

from payments_shared.ids import random_hex

_FORM: Final = re.compile(r"^00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})$")
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current_traceparent() -> str | None:
    """The trace context of what runs now, or None outside any."""
    return _current.get()


def current_trace_id() -> str | None:
    """The 32 hex digits that all spans of this trace share."""
    value = _current.get()
    return trace_id_of(value) if value else None


def trace_id_of(traceparent: str) -> str:
    """The trace id in a well-formed `traceparent`."""
    return traceparent[3:35]


def rooted_in(start: UUID) -> str:
    """The trace that begins with what carries none: whoever derives it from the same id finds the same."""
    return f"00-{start.hex}-{start.hex[16:]}-01"


def carried() -> dict[str, str]:
    """The header of an HTTP call to another service, or none outside any trace."""
    value = _current.get()
    return {"traceparent": value} if value else {}


def new_traceparent() -> str:
    """A trace of its own."""
    digits = random_hex(192)
    return f"00-{digits[:32]}-{digits[32:]}-01"


def child_of(traceparent: str | None) -> str:
    """A new span in the trace of `traceparent`; a new trace when that is absent or malformed."""
    match = _FORM.match(traceparent) if traceparent else None
    if match is None or not int(match["trace"], 16) or not int(match["span"], 16):
        return new_traceparent()
    return f"00-{match['trace']}-{random_hex(64)}-{match['flags']}"


class continued:  # noqa: N801 - used as a function; a generator would cost more than what it wraps
    """Run a `with` block as a new span of `traceparent`; the block's target is its own context."""

    __slots__ = ("_token", "_value")

    def __init__(self, traceparent: str | None) -> None:
        self._value = child_of(traceparent)

    def __enter__(self) -> str:
        self._token: Token[str | None] = _current.set(self._value)
        return self._value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
