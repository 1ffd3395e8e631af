"""What Prometheus says is wrong."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of Prometheus whose condition holds `since` then. `runbook` is an address, or a path."""

    name: str
    severity: str
    fires: bool
    since: datetime
    summary: str
    runbook: str
