"""The outward door of operations: one message back to the one queue that failed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from payments_shared.errors import Retryable
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.topology import RETURN_EXCHANGE


@dataclass(frozen=True, slots=True)
class Replays:
    """Publishes replays: to the failed service's queue and nobody else's."""

    publisher: Publisher

    async def send(
        self,
        *,
        message_id: UUID,
        type_: str,
        queue: str,
        body: bytes,
        headers: Mapping[str, Any],
        correlation_id: str | None,
    ) -> None:  # Any: AMQP table values
        """Publish and wait for the confirm.

        Raises:
            Retryable: the broker did not confirm; the message may have been stored, and its twin would be dropped.
        """
        outcome = await self.publisher.publish(
            Outgoing(message_id, type_, RETURN_EXCHANGE, queue, body, headers, correlation_id)
        )
        if outcome is not Outcome.CONFIRMED:
            raise Retryable("replay_not_confirmed", f"The broker answered {outcome}.")
