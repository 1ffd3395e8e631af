"""W3C trace context: read from requests and messages, carried through the outbox, written to the next hop."""

import contextlib
import re
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

_FORM: Final = re.compile(r"^00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})$")
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current_traceparent() -> str | None:
    """The trace context of what runs now, or None outside any."""
    return _current.get()


def current_trace_id() -> str | None:
    """The 32 hex digits that all spans of this trace share."""
    value = _current.get()
    return value[3:35] if value else None


def new_traceparent() -> str:
    """A trace of its own."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def child_of(traceparent: str | None) -> str:
    """A new span in the trace of `traceparent`; a new trace when that is absent or malformed."""
    match = _FORM.match(traceparent or "")
    if match is None or not int(match["trace"], 16) or not int(match["span"], 16):
        return new_traceparent()
    return f"00-{match['trace']}-{secrets.token_hex(8)}-{match['flags']}"


@contextlib.contextmanager
def continued(traceparent: str | None) -> Iterator[str]:
    """Run the block as a new span of `traceparent`."""
    value = child_of(traceparent)
    token = _current.set(value)
    try:
        yield value
    finally:
        _current.reset(token)
