"""What the console offers about a refund. refunds decides, whatever is offered. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from operations.model.people import Access

Json = Mapping[str, Any]  # Any: JSON
ENDED: Final = frozenset({"failed", "canceled", "rejected"})
PUT_OFF: Final = ("approved", "stopped")
"""The status of a part that waits for the switch of refunds, and its `pending_reason`."""


def is_put_off(refund: Json) -> bool:
    """Whether all of a refund that has not come to nothing waits until refunds are open again."""
    alive = [(part["status"], part["pending_reason"]) for part in refund["parts"] if part["status"] not in ENDED]
    return bool(alive) and set(alive) == {PUT_OFF}


def takes_back(refund: Json, access: Access) -> bool:
    """Whether a refund that is put off is taken back by whoever has this token: an administrator, or who asked for
    it."""
    return "admin" in access.roles or ("support" in access.roles and refund["requester"] == access.subject)
