"""The only module that reads a clock. Business deadlines use the database's `business_now()` instead."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The wall clock of this process, aware, in UTC. For message times and logs, never for deadlines."""
    return datetime.now(UTC)


def monotonic_seconds() -> float:
    """Seconds from an arbitrary start that never run backwards. For durations."""
    return time.monotonic()
