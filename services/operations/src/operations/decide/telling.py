"""The story of an order: what was said about it and what of it failed, in order, each with its cause. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

Row = Mapping[str, Any]  # Any: column values


STRIPE: Final = "stripe."


@dataclass(frozen=True, slots=True)
class Cause:
    """What a message was said because of. `type` is there when that stands in the same story."""

    id: str
    type: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story: a message that was said, or with `status` a dead letter and where it stands. `order_id` is
    the order that a message names. One without a cause is a root: Stripe's event, or what a service said at a request,
    or since it was due."""

    at: datetime
    id: UUID
    type: str
    who: str
    cause: Cause | None
    data: Any  # Any: JSON
    status: str | None
    reason: str | None
    order_id: str | None = None

    @property
    def from_stripe(self) -> bool:
        """Whether Stripe said it."""
        return self.type.startswith(STRIPE)


def story(messages: Sequence[Row], letters: Sequence[Row]) -> list[Line]:
    """The lines, the earliest first. At one moment a cause stands before what it caused."""
    types = {str(row["message_id"]): row["type"] for row in messages}
    lines = [
        Line(
            at=row["time"],
            id=row["message_id"],
            type=row["type"],
            who=row["source"].rpartition("/")[2],
            cause=Cause(row["causation_id"], types.get(row["causation_id"])) if row["causation_id"] else None,
            data=row["data"],
            status=None,
            reason=None,
            order_id=row["order_id"],
        )
        for row in messages
    ]
    lines += [
        Line(
            at=row["last_failed_at"],
            id=row["id"],
            type=row["type"],
            who=row["service"],
            cause=None,
            data=None,
            status=row["status"],
            reason=row["reason"],
        )
        for row in letters
    ]
    return _causes_first(sorted(lines, key=lambda line: line.at))


def _causes_first(lines: list[Line]) -> list[Line]:
    """A cause and its effect may bear the same time, as clocks differ by a little: the effect waits for its cause."""
    told: list[Line] = []
    known: set[str] = set()
    waiting: dict[str, list[Line]] = {}
    ids = {str(line.id) for line in lines}

    def tell(line: Line) -> None:
        pending = [line]
        while pending:
            one = pending.pop(0)
            told.append(one)
            known.add(str(one.id))
            pending = [*waiting.pop(str(one.id), []), *pending]

    for line in lines:
        cause = line.cause.id if line.cause else None
        if cause is not None and cause in ids and cause not in known and cause != str(line.id):
            waiting.setdefault(cause, []).append(line)
        else:
            tell(line)
    for left in list(waiting.values()):  # causes that go round in a circle: nobody's, but to be shown
        told.extend(left)
    return told
