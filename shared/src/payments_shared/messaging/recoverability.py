"""What happens to a delivery that failed: again at once, again later in a retry tier, or to the dead letters."""

import hashlib
import random
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

from pydantic import ValidationError

from payments_shared import __version__
from payments_shared.errors import Poison, Retryable
from payments_shared.messaging.envelope import Undecodable
from payments_shared.postgres import is_connection_failure

IMMEDIATE_DELAYS_SECONDS: Final = (0.05, 0.2, 0.8)
MESSAGE_MAX_BYTES: Final = 1024
NAME_MAX_BYTES: Final = 256
OUTAGE_MAX: Final = timedelta(hours=24)
STACK_MAX_BYTES: Final = 8192  # all fault headers must fit one frame: a larger table kills the whole connection

ATTEMPT: Final = "pay-attempt"
FIRST_FAILED_AT: Final = "pay-first-failed-at"
REPLAY_ID: Final = "pay-replay-id"
REPLAY_OF: Final = "pay-replay-of"
REPLAY: Final = (REPLAY_ID, REPLAY_OF)
FAULT_PREFIX: Final = "pay-fault-"


class Reason(StrEnum):
    """Why a message is a dead letter. The broker itself adds `delivery_limit`."""

    UNDECODABLE = "undecodable"
    FORGED = "forged"
    FORGOTTEN = "forgotten"
    PERMANENT = "permanent"
    EXHAUSTED = "exhausted"


class Forged(Exception):
    """The message was not published by a service that may say it."""


class Forgotten(Exception):
    """The message is older than what the inbox remembers, so nobody can say whether it took effect before."""


def is_permanent(error: BaseException) -> bool:
    """Whether no repetition can help."""
    return isinstance(error, Poison | Undecodable | Forged | Forgotten | ValidationError)


def reason_of(error: BaseException) -> Reason:
    """The reason under which a message with `error` is dead-lettered."""
    match error:
        case Forged():
            return Reason.FORGED
        case Forgotten():
            return Reason.FORGOTTEN
        case Undecodable() | ValidationError():
            return Reason.UNDECODABLE
        case Poison():
            return Reason.PERMANENT
        case _:
            return Reason.EXHAUSTED


def immediate_delay(attempt: int) -> float | None:
    """Seconds before trying again in place, with full jitter; None when `attempt` (from 0) was the last one."""
    if attempt >= len(IMMEDIATE_DELAYS_SECONDS):
        return None
    return random.uniform(0, IMMEDIATE_DELAYS_SECONDS[attempt])  # noqa: S311 - jitter, not a secret


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed delivery, with what its dead letter or next attempt has to know."""

    error: BaseException
    service: str
    queue: str
    handler: str
    message_type: str
    headers: Mapping[str, Any]  # Any: AMQP table values
    exchange: str
    routing_key: str
    now: datetime

    @property
    def attempt(self) -> int:
        """Which delivery through the retry tiers this was, from 1. Counted by ourselves: broker counts are reset."""
        value = self.headers.get(ATTEMPT, 1)
        return value if isinstance(value, int) and value > 0 else 1

    @property
    def first_failed_at(self) -> str:
        value = self.headers.get(FIRST_FAILED_AT)
        return _cut(value, NAME_MAX_BYTES) if isinstance(value, str) else self.now.astimezone(UTC).isoformat()

    def next_tier_ms(self, tiers_ms: Sequence[int]) -> int | None:
        """The tier to wait in before the next attempt, or None when there is none left or none would help.

        A command whose dependency is away (Stripe, the mail server), and whatever lost its connection to the database,
        stays in the last tier until `OUTAGE_MAX` after its first failure: the tiers together are shorter than many an
        outage, and what a person would do with the dead letters of one is to send them again. Waiting in the tier holds
        no worker and survives a restart. One that a person sent again is a dead letter again soon: he waits for word of
        it, and would take it for lost while it may still take effect.
        """
        if is_permanent(self.error) or not tiers_ms:
            return None
        if self.attempt <= len(tiers_ms):
            return tiers_ms[self.attempt - 1]
        return tiers_ms[-1] if self._blameless and self._age < OUTAGE_MAX and not self._replay else None

    @property
    def _blameless(self) -> bool:
        outward = self.queue.endswith(".work") and isinstance(self.error, Retryable)
        return outward or is_connection_failure(self.error)

    @property
    def _age(self) -> timedelta:
        try:
            return self.now - datetime.fromisoformat(self.first_failed_at)
        except (ValueError, TypeError):  # not what we write: no reason to wait longer
            return OUTAGE_MAX

    @property
    def _replay(self) -> dict[str, Any]:
        """Which replay brought the message: of what came with it, the only thing that goes on. What its sender, or the
        broker, wrote beside that is of no use to anybody, and has no bound."""
        return {name: _cut(str(self.headers[name]), NAME_MAX_BYTES) for name in REPLAY if name in self.headers}

    def retry_headers(self) -> dict[str, Any]:
        """Headers of the copy that goes through a tier."""
        return self._replay | {ATTEMPT: self.attempt + 1, FIRST_FAILED_AT: self.first_failed_at}

    def fault_headers(self) -> dict[str, Any]:
        """Headers of the dead letter: everything that a person needs to decide, in less than 16 KiB."""
        fault = {
            "service": self.service,
            "queue": self.queue,
            "handler": _cut(self.handler, NAME_MAX_BYTES),
            "reason": reason_of(self.error).value,
            "exception-type": _cut(_qualified_name(self.error), NAME_MAX_BYTES),
            "exception-message": _cut(str(self.error), MESSAGE_MAX_BYTES),
            "stack": _stack(self.error),
            "fingerprint": fingerprint(self.error, self.message_type),
            "attempts": self.attempt,
            "first-failed-at": self.first_failed_at,
            "failed-at": self.now.astimezone(UTC).isoformat(),
            "host": socket.gethostname(),
            "code-version": __version__,
        }
        origin = {"pay-origin-exchange": self.exchange, "pay-origin-routing-key": self.routing_key}
        return self._replay | origin | {FAULT_PREFIX + name: value for name, value in fault.items()}


def fingerprint(error: BaseException, message_type: str) -> str:
    """One value for failures of one kind: exception type, innermost frame of our own code, message type.

    Neither line numbers nor message texts take part, so that a release does not split a group.
    """
    parts = (_qualified_name(error), _innermost_own_frame(error.__traceback__), message_type)
    return hashlib.sha1("\x1f".join(parts).encode(), usedforsecurity=False).hexdigest()


def _innermost_own_frame(trace: TracebackType | None) -> str:
    own = ""
    for frame, _ in traceback.walk_tb(trace):
        if _is_own(frame):
            own = f"{frame.f_globals.get('__name__', '')}:{frame.f_code.co_qualname}"
    return own


def _is_own(frame: FrameType) -> bool:
    """Frames of compiled extensions name their source by a relative path."""
    root = frame.f_globals.get("__name__", "").partition(".")[0]
    path = frame.f_code.co_filename
    return root not in sys.stdlib_module_names and Path(path).is_absolute() and "site-packages" not in path


def _qualified_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _stack(error: BaseException) -> str:
    raw = "".join(traceback.format_exception(error)).encode(errors="replace")
    if len(raw) <= STACK_MAX_BYTES:
        return raw.decode()
    half = STACK_MAX_BYTES // 2 - 8
    return raw[:half].decode(errors="ignore") + "\n[…]\n" + raw[-half:].decode(errors="ignore")


def _cut(text: str, limit_bytes: int) -> str:
    return text.encode(errors="replace")[:limit_bytes].decode(errors="ignore")
