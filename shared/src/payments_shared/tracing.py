"""W3C trace context: read from requests and messages, carried through the outbox, written to the next hop.

Spans are recorded where `payments_shared.telemetry` has been started, and nowhere else: without it nothing of
OpenTelemetry is imported, and what is asked of this module costs a comparison.
"""

import re
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

from payments_shared.ids import random_hex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import aiohttp
    from aiohttp.typedefs import Middleware

    from payments_shared.telemetry.recorder import Recorder

T = TypeVar("T")

_FORM: Final = re.compile(r"^00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})$")
_SAMPLED: Final = 1
_UNRECORDED: Final = nullcontext()
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)

recorder: "Recorder | None" = None
"""Who records spans in this process. It is set before anything runs and never again."""


def record_with(one: "Recorder") -> None:
    """Let `one` record from now on."""
    global recorder  # noqa: PLW0603 - like the registry of metrics, there is one for the process
    recorder = one


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


def is_sampled(traceparent: str) -> bool:
    """Whether spans of a well-formed `traceparent` are recorded, as our first service decided for all."""
    return bool(int(traceparent[53:], 16) & _SAMPLED)


def decided(traceparent: str, *, recorded: bool) -> str:
    """The same place of the same trace, of which spans are recorded from here on, or not."""
    return f"{traceparent[:53]}{int(recorded):02x}"


def kept() -> str | None:
    """The trace context to keep with what is stored, so that later traces can be linked to it; None where no spans are
    recorded."""
    return None if recorder is None else _current.get()


def link(traceparent: str | None) -> None:
    """Say that what runs now has to do with another trace, of which `kept` was kept."""
    if recorder is not None and traceparent is not None:
        recorder.link(traceparent)


def calling(peer: str, operation: str) -> AbstractContextManager[object]:
    """A span around a call outward: `operation` is one of a closed set."""
    return _UNRECORDED if recorder is None else recorder.calling(peer, operation)


def doing(
    operation: str, items: "Sequence[T]", trace_of: "Callable[[T], str | None]"
) -> AbstractContextManager[object]:
    """A span around what is done for many at once: it belongs to the trace of the first that has one and is linked with
    those of the others."""
    return _UNRECORDED if recorder is None else recorder.doing(operation, [trace_of(item) for item in items])


def middlewares() -> "tuple[Middleware, ...]":
    """What stands before the door of an application for services: a span for each request, recorded as its caller
    decided."""
    return () if recorder is None else (recorder.middleware,)


def public_middlewares() -> "tuple[Middleware, ...]":
    """What stands before the door of an application for strangers: a span for each request, in their trace, recorded as
    we decide."""
    return () if recorder is None else (recorder.public_middleware,)


def client_traces() -> "list[aiohttp.TraceConfig] | None":
    """What an HTTP client is made with: a span for each request."""
    return None if recorder is None else [recorder.client_trace]


def carried() -> dict[str, str]:
    """The header of an HTTP call to another service, or none outside any trace."""
    value = _current.get()
    return {"traceparent": value} if value else {}


def new_traceparent() -> str:
    """A trace of its own."""
    digits = random_hex(192)
    return f"00-{digits[:32]}-{digits[32:]}-01"


def unfollowed() -> str:
    """A trace of its own of which no spans are recorded, such as that of a question about health."""
    return f"{new_traceparent()[:53]}00"


def child_of(traceparent: str | None) -> str:
    """A new span in the trace of `traceparent`; a new trace when that is absent or malformed."""
    match = _FORM.match(traceparent) if traceparent else None
    if match is None or not int(match["trace"], 16) or not int(match["span"], 16):
        return new_traceparent()
    return f"00-{match['trace']}-{random_hex(64)}-{match['flags']}"


def well_formed(traceparent: object) -> str | None:
    """What somebody else said his trace context is, if it is one."""
    match = _FORM.fullmatch(traceparent) if isinstance(traceparent, str) else None
    return match[0] if match and int(match["trace"], 16) and int(match["span"], 16) else None


class continued:  # noqa: N801 - used as a function; a generator would cost more than what it wraps
    """Run a `with` block as a new span of `traceparent`; the block's target is its own context.

    Where spans are recorded it is no span of its own, of which nobody would know, but belongs to that of `traceparent`.
    """

    __slots__ = ("_token", "_value")

    def __init__(self, traceparent: str | None) -> None:
        self._value = child_of(traceparent) if recorder is None else traceparent or unfollowed()

    def __enter__(self) -> str:
        self._token: Token[str | None] = _current.set(self._value)
        return self._value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
