"""What every consuming service says once it is done with a replayed message."""

from typing import ClassVar, Final, Literal
from uuid import UUID

from payments_shared.contracts.message import Message


class DeadLetterResolved(Message):
    """The replay `replay_id` of `message_id` took effect in `service`, proved a duplicate there, or was refused by a
    rule of the business, which no other replay changes."""

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
