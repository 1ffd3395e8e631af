"""What people may stop, and who keeps each switch."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Switch(StrEnum):
    """What people may stop at other services."""

    CHECKOUTS = "checkouts"
    REFUNDS = "refunds"
    MAILS = "mails"


KEEPERS: Final[Mapping[Switch, str]] = {
    Switch.CHECKOUTS: "checkout",
    Switch.REFUNDS: "refunds",
    Switch.MAILS: "notifications",
}
"""The service that keeps each."""
