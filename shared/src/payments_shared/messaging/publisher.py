"""Publishing with confirms: pipelined, mandatory, and honest about what is not known."""

import asyncio
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

from payments_shared import metrics, tracing
from payments_shared.clock import monotonic_seconds
from payments_shared.messaging.connection import Broker, underlay, wait_first
from payments_shared.messaging.envelope import CONTENT_TYPE
from payments_shared.messaging.pipeline import Confirmation, Parcel, is_held_back, publish_parcels

CONFIRM_TIMEOUT_SECONDS: Final = 10.0
READY_POLL_SECONDS: Final = 0.2
PERSISTENT: Final = 2

log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """What became of a publish. Only `CONFIRMED` says that every bound queue has the message safely.

    `REFUSED`: the broker closed the channel over this one message. `UNANSWERED`: it had its time, on a channel that
    lives, and may have stored it: a queue without a majority of its replicas says nothing. `UNKNOWN` is what the end of
    the channel, or an alarm, left open. All of them are published again, and consumers drop the twin.
    """

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    NACKED = "nacked"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    UNKNOWN = "unknown"


_SILENCE: Final = {Outcome.UNANSWERED, Outcome.UNKNOWN}


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
        self._proven = False
        self._suspects = 0  # messages that still go one at a time
        self.link = broker.link("publish", self._open)
        metrics.AMQP_BLOCKED.set_function(lambda: int(self.held_back))
        metrics.from_zero(metrics.OUTBOX_PUBLISHED)

    async def _open(self, connection: aio_pika.abc.AbstractConnection) -> None:
        # on_return_raises: without it an unroutable message looks exactly like a confirmed one.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._channel = await underlay(channel)
        self._proven = False
        self._keep_alive = channel  # aio-pika closes a channel that nobody refers to
        channel.close_callbacks.add(lambda *_: self.link.lose())  # the connection may be well, but this channel is not

    @property
    def connected(self) -> bool:
        """Whether there is a channel to publish on."""
        return self.link.usable and self._channel is not None and not self._channel.is_closed

    @property
    def held_back(self) -> bool:
        """Whether an alarm at the broker (memory or disk) holds us back. It tells a connection once that publishes."""
        return self.connected and self._channel is not None and is_held_back(self._channel)

    @property
    def ready(self) -> bool:
        """Whether a publish has a chance at this moment."""
        return self.connected and not self.held_back

    async def until_ready(self, stopping: asyncio.Event) -> bool:
        """Wait until a publish has a chance; False when `stopping` came first."""
        while not self.ready and not stopping.is_set():
            await wait_first(stopping, timeout_seconds=READY_POLL_SECONDS)
        return self.ready

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        """Publish `messages` in their order, all in flight together, and say what became of each.

        Never raises for the broker's sake. A message id that is already in flight here answers UNKNOWN at once:
        returned messages are told apart by their id alone.
        """
        started = monotonic_seconds()
        recorder = tracing.recorder
        outcomes = await (recorder.published(messages, self._publish_all) if recorder else self._publish_all(messages))
        metrics.PUBLISH_CONFIRM_SECONDS.observe(monotonic_seconds() - started)
        for outcome, count in Counter(outcomes).items():
            metrics.OUTBOX_PUBLISHED.labels(outcome=outcome.value).inc(count)
        return outcomes

    async def publish(self, message: Outgoing) -> Outcome:
        """Publish one message."""
        return (await self.publish_many([message]))[0]

    async def _publish_all(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        channel = self._channel
        if channel is None or not self.ready:
            return [Outcome.UNKNOWN] * len(messages)
        fresh: dict[UUID, int] = {}
        for position, message in enumerate(messages):
            if message.message_id not in self._in_flight:
                fresh.setdefault(message.message_id, position)
        sent = list(fresh.values())
        self._in_flight |= fresh.keys()
        try:
            known = await self._send(channel, [self._parcel(messages[position]) for position in sent])
        finally:
            self._in_flight -= fresh.keys()
        outcomes = [Outcome.UNKNOWN] * len(messages)
        for position, outcome in zip(sent, known, strict=False):
            outcomes[position] = outcome
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome is Outcome.UNROUTABLE:
                log.error(
                    "amqp.unroutable",
                    type=message.type,
                    routing_key=message.routing_key,
                    message_id=str(message.message_id),
                    order_id=message.correlation_id,
                )
        return outcomes

    async def _send(self, channel: aiormq.Channel, parcels: Sequence[Parcel]) -> list[Outcome]:
        """The outcomes of `parcels` from the first on, as far as they were written.

        The first message on a new channel goes alone. During an alarm the broker takes one before it holds a new
        connection back, and what lies in the socket behind it comes out as a copy afterwards. Alone goes also each of
        those among which one was refused: it took the others' confirmations along with the channel.
        """
        known: list[Outcome] = []
        while len(known) < len(parcels):
            alone = self._suspects or not (self._proven or known)
            told = await self._written(channel, parcels[len(known) : len(known) + 1 if alone else None])
            known += told
            if not _SILENCE.issuperset(told) and channel is self._channel:
                self._proven = True
            if not told or Outcome.UNKNOWN in told or channel.is_closed or channel is not self._channel:
                break
        if known and _SILENCE.issuperset(known) and channel is self._channel and not self.held_back:
            # Nothing comes back on this channel. While the broker holds us back that is no fault of the connection,
            # and each new one would leave copies behind.
            self.link.lose()
        return known

    async def _written(self, channel: aiormq.Channel, parcels: Sequence[Parcel]) -> list[Outcome]:
        confirmations = await publish_parcels(channel, parcels, timeout_seconds=CONFIRM_TIMEOUT_SECONDS)
        outcomes = [_outcome(confirmation) for confirmation in confirmations]
        refused = any(map(_is_refused, confirmations))
        if len(parcels) > 1:
            self._suspects = len(parcels) if refused else 0
        elif refused:
            self._suspects = 0
            return [Outcome.REFUSED]
        elif outcomes and outcomes[0] not in _SILENCE:
            self._suspects = max(0, self._suspects - 1)
        else:
            self._suspects = 0  # no word in its whole time: the others, one at a time, could take minutes
        if channel.is_closed or is_held_back(channel):
            return outcomes
        return [Outcome.UNANSWERED if outcome is Outcome.UNKNOWN else outcome for outcome in outcomes]

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


def _is_refused(confirmation: Confirmation) -> bool:
    """Whether the broker closed the channel over a message on it, which may not be said, or is too large."""
    refusals = (aiormq.exceptions.ChannelAccessRefused, aiormq.exceptions.ChannelPreconditionFailed)
    return not confirmation.cancelled() and isinstance(confirmation.exception(), refusals)
