"""Messages taken one by one, for tools: each is looked at, and then acknowledged or left where it is."""

from dataclasses import dataclass, field
from typing import Final

import aio_pika.abc
import aiormq.abc

from payments_shared.messaging.connection import Broker, Link, underlay
from payments_shared.messaging.delivery import Delivery

ANSWER_SECONDS: Final = 10.0


@dataclass(slots=True)
class Puller:
    """Takes from one queue. What was taken and not acknowledged goes back to its place when the link closes."""

    broker: Broker
    queue: str
    link: Link = field(init=False)
    _channel: aiormq.abc.AbstractChannel | None = None
    _keep_alive: aio_pika.abc.AbstractChannel | None = None

    def __post_init__(self) -> None:
        self.link = self.broker.link("pull", self._open)

    async def _open(self, connection: aio_pika.abc.AbstractConnection) -> None:
        self._keep_alive = await connection.channel(publisher_confirms=False)
        self._channel = await underlay(self._keep_alive)

    async def consumers(self) -> int:
        """How many consumers the queue has, which may hold messages that cannot be taken here."""
        declared = await self._open_channel().queue_declare(self.queue, passive=True, timeout=ANSWER_SECONDS)
        return (declared.consumer_count if declared else 0) or 0

    async def take(self) -> Delivery | None:
        """The first message that nobody holds, or None."""
        channel = self._open_channel()
        message = await channel.basic_get(self.queue, timeout=ANSWER_SECONDS)
        return None if message.delivery_tag is None else Delivery(message, channel)

    async def acknowledge(self, delivery: Delivery) -> None:
        """The message is somebody else's now; the queue forgets it."""
        await delivery.channel.basic_ack(delivery.tag)

    def _open_channel(self) -> aiormq.abc.AbstractChannel:
        if self._channel is None or self._channel.is_closed:
            raise ConnectionError("the link to the broker is gone")
        return self._channel
