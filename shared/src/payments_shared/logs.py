"""Structured logs: one JSON object a line on standard output, without secrets and without personal data."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from payments_shared.tracing import current_trace_id

Event = MutableMapping[str, Any]  # Any: structlog's own form

_SECRETS: Final = re.compile(
    r"""(?x)
      \b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]+
    | \bwhsec_[A-Za-z0-9+/=]+
    | \b[Bb]earer\s+[A-Za-z0-9._~+/=-]+
    | \b(?:cs|pi|seti)_[A-Za-z0-9_]+_secret_[A-Za-z0-9]+
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)                       # user:password of a URL
    | \b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+  # an e-mail address
    | \b[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}\b                    # an IBAN
    """
)
_DIGITS: Final = re.compile(r"\b(?:[0-9][ -]?){12,18}[0-9]\b")
_FORBIDDEN_KEYS: Final = frozenset(
    {"password", "secret", "token", "authorization", "cookie", "client_secret", "payload"}
)
REDACTED: Final = "[redacted]"


def redact(text: str) -> str:
    """`text` without keys, tokens, addresses and card numbers."""
    return _DIGITS.sub(_redact_card, _SECRETS.sub(REDACTED, text))


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


def configure_logging(service: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everything, the standard library's loggers included, through one redacting JSON line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
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


def _adder(service: str) -> structlog.typing.Processor:
    def add_service(_: object, __: str, event: Event) -> Event:
        event["service"] = service
        return event

    return add_service
