"""What every consuming service says once a replayed message has taken effect."""

from typing import ClassVar, Final, Literal
from uuid import UUID

from payments_shared.contracts.message import Message


class DeadLetterResolved(Message):
    """The replay `replay_id` of `message_id` took effect in `service`, or proved a duplicate there."""

    TYPE: ClassVar[str] = "dead_letter.resolved.v1"

    message_id: UUID
    replay_id: UUID
    service: str
    outcome: Literal["applied", "duplicate", "refused"]

    def subject(self) -> str:
        return f"dead_letter/{self.message_id}"

    def partition_key(self) -> str:
        return str(self.message_id)


EVENTS: Final = (DeadLetterResolved,)
