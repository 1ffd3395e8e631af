"""Structured logs: one JSON object a line on standard output, without secrets and without personal data."""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final, TextIO
from uuid import UUID

import structlog

from payments_shared.ids import external_id
from payments_shared.redaction import NAMES, REDACTED, redacted_text, without_refused
from payments_shared.tracing import current_trace_id

Event = MutableMapping[str, Any]  # Any: structlog's own form
current_request: Final[ContextVar[MutableMapping[Any, Any] | None]] = ContextVar("request", default=None)
"""The request that is answered now. It holds its `request_id`, and the `order_id` that it is about, once that is known:
every line that is written meanwhile names them."""

LONGEST: Final = 20_000

_TRACELESS: Final = re.compile(
    r"""(?x)
      \b[A-Za-z0-9._%+-]{1,250}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+  # an e-mail address
    | \b[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}\b                    # an IBAN
    """
)
_DIGITS: Final = re.compile(r"\b(?:[0-9][ -]?){12,18}[0-9]\b")
_FORBIDDEN_KEYS: Final = NAMES | {"payload"}


def redact(text: str) -> str:
    """`text` without keys, tokens, addresses and card numbers, and without what was in a value or a row that was
    refused. Of what is longer than anybody reads the middle is left out, by whole lines: the end of a traceback says
    what happened."""
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = "\n…\n".join((text[:half].rpartition("\n")[0], text[-half:].partition("\n")[2]))
    plain = redacted_text(without_refused(text, REDACTED))
    return _DIGITS.sub(_redact_card, _TRACELESS.sub(REDACTED, plain))


def _redact_card(match: "re.Match[str]") -> str:
    digits = [int(c) for c in match[0] if c.isdigit()]
    doubled = [d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(reversed(digits))]
    return REDACTED if sum(doubled) % 10 == 0 else match[0]


def _redact_values(_: object, __: str, event: Event) -> Event:
    for key, value in event.items():
        if key.lower() in _FORBIDDEN_KEYS:
            event[key] = REDACTED
        elif isinstance(value, str):
            event[key] = redact(value)
        elif not isinstance(value, int | float | bool | type(None)):
            event[key] = redact(str(value))
    return event


def about_order(order_id: UUID) -> None:
    """The request that is answered now is about this order."""
    if (request := current_request.get()) is not None:
        request["order_id"] = external_id("ord", order_id)


def configure_logging(service: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everything, the standard library's loggers included, through one redacting JSON line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        _add_request,
        _name_order,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _adder(service),
        _redact_values,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aio_pika", "aiormq", "asyncio", "stripe"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _add_trace(_: object, __: str, event: Event) -> Event:
    if (trace_id := current_trace_id()) is not None:
        event["trace_id"] = trace_id
    return event


def _add_request(_: object, __: str, event: Event) -> Event:
    if (request := current_request.get()) is not None:
        for name in ("request_id", "order_id"):
            if name not in event and (value := request.get(name)) is not None:
                event[name] = value
    return event


def _name_order(_: object, __: str, event: Event) -> Event:
    """An order is called in every line as it is outside: whoever looks for it has only that name."""
    if isinstance(order_id := event.get("order_id"), UUID):
        event["order_id"] = external_id("ord", order_id)
    return event


def _adder(service: str) -> structlog.typing.Processor:
    def add_service(_: object, __: str, event: Event) -> Event:
        event["service"] = service
        return event

    return add_service
