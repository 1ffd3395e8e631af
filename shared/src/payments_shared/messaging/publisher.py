"""Publishing with confirms: pipelined, mandatory, and honest about what is not known."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import aio_pika.abc
import aiormq.abc
import aiormq.exceptions
import structlog
from aiormq import spec

from payments_shared import metrics
from payments_shared.clock import monotonic_seconds
from payments_shared.messaging.connection import Broker, underlay
from payments_shared.messaging.envelope import CONTENT_TYPE
from payments_shared.messaging.pipeline import Confirmation, Parcel, publish_parcels

CONFIRM_TIMEOUT_SECONDS: Final = 10.0
PERSISTENT: Final = 2

log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """What became of a publish. Only `CONFIRMED` says that every bound queue has the message safely.

    `UNKNOWN` means just that: the broker may have stored it. It is published again, and consumers drop the twin.
    """

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    NACKED = "nacked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for the broker. `headers` must carry nothing that starts with `x-`."""

    message_id: UUID
    type: str
    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)  # Any: AMQP table values
    correlation_id: str | None = None


class Publisher:
    """The publishing half of a service: one link, one confirming channel."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._channel: aiormq.Channel | None = None
        self._in_flight: set[UUID] = set()
        self.link = broker.link("publish", self._open)

    async def _open(self, connection: aio_pika.abc.AbstractConnection) -> None:
        # on_return_raises: without it an unroutable message looks exactly like a confirmed one.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._channel = await underlay(channel)
        self._keep_alive = channel  # aio-pika closes a channel that nobody refers to

    @property
    def ready(self) -> bool:
        """Whether a publish has a chance at this moment."""
        return self.link.usable and self._channel is not None and not self._channel.is_closed

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        """Publish `messages` in their order, all in flight together, and say what became of each.

        Never raises for the broker's sake. A message id that is already in flight here answers UNKNOWN at once:
        returned messages are told apart by their id alone.
        """
        started = monotonic_seconds()
        outcomes = await self._publish_all(messages)
        metrics.PUBLISH_CONFIRM_SECONDS.observe(monotonic_seconds() - started)
        for outcome, count in Counter(outcomes).items():
            metrics.OUTBOX_PUBLISHED.labels(outcome=outcome.value).inc(count)
        if Outcome.UNKNOWN in outcomes and self._channel is not None and self._channel.is_closed:
            self.link.lose()  # the connection may be well, but this channel is not
        return outcomes

    async def publish(self, message: Outgoing) -> Outcome:
        """Publish one message."""
        return (await self.publish_many([message]))[0]

    async def _publish_all(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        channel = self._channel
        if channel is None or channel.is_closed:
            return [Outcome.UNKNOWN] * len(messages)
        fresh: dict[UUID, int] = {}
        for position, message in enumerate(messages):
            if message.message_id not in self._in_flight:
                fresh.setdefault(message.message_id, position)
        sent = list(fresh.values())
        self._in_flight |= fresh.keys()
        try:
            confirmations = await publish_parcels(
                channel,
                [self._parcel(messages[position]) for position in sent],
                timeout_seconds=CONFIRM_TIMEOUT_SECONDS,
            )
        finally:
            self._in_flight -= fresh.keys()
        outcomes = [Outcome.UNKNOWN] * len(messages)
        for position, confirmation in zip(sent, confirmations, strict=False):
            outcomes[position] = _outcome(confirmation)
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome is Outcome.UNROUTABLE:
                log.error("amqp.unroutable", type=message.type, routing_key=message.routing_key)
        return outcomes

    def _parcel(self, message: Outgoing) -> Parcel:
        return Parcel(message.exchange, message.routing_key, self._properties(message), message.body)

    def _properties(self, message: Outgoing) -> spec.Basic.Properties:
        return spec.Basic.Properties(
            message_id=str(message.message_id),
            message_type=message.type,
            correlation_id=message.correlation_id,
            content_type=CONTENT_TYPE,
            delivery_mode=PERSISTENT,
            app_id=self._broker.service,
            user_id=self._broker.user,  # the broker refuses a name that is not the connection's own
            headers=dict(message.headers),
        )


def _outcome(confirmation: Confirmation) -> Outcome:
    if confirmation.cancelled():
        return Outcome.UNKNOWN
    match confirmation.exception():
        case None:
            return Outcome.CONFIRMED
        case aiormq.exceptions.PublishError():  # a subclass of DeliveryError: it must come first
            return Outcome.UNROUTABLE
        case aiormq.exceptions.DeliveryError():
            return Outcome.NACKED
        case _:
            return Outcome.UNKNOWN
