"""Messages that no handler can take, put into one service's queue, and the dead letters that must come of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from payments_shared.clock import utc_now
from payments_shared.contracts.message import Message
from payments_shared.ids import new_id
from payments_shared.messaging import Envelope
from payments_shared.messaging.envelope import encode
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.recoverability import ATTEMPT, Reason
from payments_shared.messaging.topology import RETURN_EXCHANGE
from tests.support.shopping import Shopper, eventually
from tests.support.speaking import speaking

HEADERS: Final = (
    "service", "queue", "handler", "reason", "exception-type", "exception-message", "stack", "fingerprint", "attempts",
    "first-failed-at", "failed-at", "host", "code-version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Poison:
    """One message, and the reason under which it must end among the dead letters."""

    message_id: UUID
    type: str
    body: bytes
    reason: Reason


def undecodable() -> Poison:
    """No envelope."""
    return Poison(new_id(), "order.paid.v1", b'{"neither": "envelope"', Reason.UNDECODABLE)


def invalid() -> Poison:
    """An envelope whose data is not what its type says."""
    return of_data("order.paid.v1", {"order_id": "ord_1", "lines": "none"}, Reason.UNDECODABLE)


def of_message(message: Message, reason: Reason) -> Poison:
    """A message in good form that a handler will not take."""
    return of_data(message.TYPE, json.loads(message.model_dump_json()), reason)


def of_data(message_type: str, data: Mapping[str, Any], reason: Reason) -> Poison:  # Any: JSON
    """An envelope around any data."""
    message_id = new_id()
    envelope = Envelope(
        id=message_id, source="payments/checkout", type=message_type, subject="order/poison", time=utc_now(),
        partitionkey=str(message_id),
    )  # fmt: skip
    return Poison(message_id, message_type, encode(envelope, json.dumps(data).encode()), reason)


@dataclass(slots=True)
class DeadLetters:
    """Poison for the queue of facts of one service, where no other service meets it."""

    shopper: Shopper
    service: str
    poison: Sequence[Poison]

    async def publish(self) -> None:
        """Put all of it into the queue."""
        async with speaking(self.shopper.deployment, self.service) as publisher:
            for one in self.poison:
                await self.publish_one(publisher, one)

    async def publish_one(self, publisher: Publisher, one: Poison) -> None:
        """Put one message into the queue as a retry of the service's own would be, and wait for the confirm."""
        queue, headers = f"{self.service}.events", {ATTEMPT: 1}
        sent = await publisher.publish(Outgoing(one.message_id, one.type, RETURN_EXCHANGE, queue, one.body, headers))
        assert sent is Outcome.CONFIRMED

    async def in_flight(self) -> dict[str, int]:
        """How many of them are not kept yet."""
        return {"letters": len(self.poison) - await self._kept()}

    async def all_kept_once(self) -> None:
        """Wait until each is one open dead letter of the service, with everything that a person needs to decide."""

        async def all_kept() -> bool:
            return await self._kept() == len(self.poison)

        await eventually(all_kept, within=60, what=f"{len(self.poison)} dead letters of {self.service}")
        rows = await self._rows()
        assert sorted((row["message_id"], row["reason"]) for row in rows) == sorted(
            (str(one.message_id), one.reason.value) for one in self.poison
        )
        assert {(row["service"], row["status"]) for row in rows} == {(self.service, "open")}
        for row in rows:
            headers = json.loads(row["headers"])
            assert [name for name in HEADERS if not headers.get(f"pay-fault-{name}")] == [], headers

    async def _kept(self) -> int:
        return len(await self._rows())

    async def _rows(self) -> "Sequence[Any]":  # Any: records
        ids = [str(one.message_id) for one in self.poison]
        return await self.shopper.owner.fetch("SELECT * FROM operations.dead_letters WHERE message_id = ANY($1)", ids)
