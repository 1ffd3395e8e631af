"""What becomes of a delivery: acknowledged, handed on to a retry tier, or among the dead letters."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Final, Literal
from uuid import UUID
from weakref import WeakKeyDictionary

import aiormq.abc
import aiormq.exceptions
import structlog
from prometheus_client import Counter, Histogram

from payments_shared import metrics
from payments_shared.clock import utc_now
from payments_shared.failpoints import failpoint
from payments_shared.ids import derived_id
from payments_shared.logs import redact
from payments_shared.messaging.binding import Binding, in_context_of
from payments_shared.messaging.delivery import Delivery, Incoming
from payments_shared.messaging.envelope import Envelope
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.recoverability import Failure
from payments_shared.messaging.topology import DEAD_LETTER_EXCHANGE, retry_exchange

GIVE_BACK_SECONDS: Final = 1.0

Outcomes = Literal["applied", "duplicate", "refused", "stale"]

log = structlog.get_logger(__name__)
_EVERYTHING: Final = logging.getLogger(__name__)  # asked for each message, of which structlog would make much work


@dataclass(frozen=True, slots=True)
class Settler:
    """Settles the deliveries of one queue. `unsettled` are the tags of those taken up, by the channel that lives."""

    service: str
    queue: str
    publisher: Publisher
    bindings: Mapping[str, Binding]
    tiers_ms: tuple[int, ...]
    unsettled: "WeakKeyDictionary[aiormq.abc.AbstractChannel, set[int]]" = field(default_factory=WeakKeyDictionary)

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Remember that these were taken up, in the order of their arrival, and are not settled yet."""
        for delivery in deliveries:
            self.unsettled.setdefault(delivery.channel, set()).add(delivery.tag)

    async def acknowledge_together(self, batch: Sequence[Incoming], outcomes: Mapping[UUID, Outcomes]) -> None:
        """Tell the broker that all of these are done; their effects have committed.

        One word does it for a channel on which nothing else that came before the last of them is open: what failed and
        is still on its way to a retry tier must not be acknowledged with them.
        """
        now, seen = utc_now(), set[UUID]()
        for incoming in batch:
            # A second copy in the same batch took no effect of its own.
            message_id = incoming.envelope.id
            _count(incoming, "duplicate" if message_id in seen else outcomes[message_id], now)
            seen.add(message_id)
        by_channel: dict[aiormq.abc.AbstractChannel, list[Delivery]] = {}
        for incoming in batch:
            by_channel.setdefault(incoming.delivery.channel, []).append(incoming.delivery)
        for channel, deliveries in by_channel.items():
            tags, last = {delivery.tag for delivery in deliveries}, max(deliveries, key=lambda delivery: delivery.tag)
            if any(tag < last.tag for tag in self.unsettled.get(channel, set()) - tags):
                for delivery in deliveries:
                    await self.settle(delivery, _acknowledge)
            else:
                await self.settle(last, _acknowledge_all_until)
                self.unsettled.get(channel, set()).difference_update(tags)
        failpoint("after_ack")

    async def acknowledge(self, incoming: Incoming, outcome: Outcomes) -> None:
        """Tell the broker that the message is done; its effect has committed."""
        _count(incoming, outcome, utc_now())
        await self.settle(incoming.delivery, _acknowledge)
        failpoint("after_ack")

    async def settle(self, delivery: Delivery, act: Callable[[Delivery], Awaitable[None]]) -> None:
        """Do `act` on the delivery's own channel, if that still lives."""
        self.unsettled.get(delivery.channel, set()).discard(delivery.tag)
        try:
            await act(delivery)
        except (RuntimeError, OSError, aiormq.exceptions.AMQPError):
            # The channel died after our commit. The broker delivers again and the inbox recognises the twin.
            metrics.STALE_ACKS.inc()

    async def hand_on(
        self, delivery: Delivery, envelope: Envelope | None, error: BaseException, stopping: asyncio.Event
    ) -> None:
        """Hand the message on, to a retry tier or to the dead letters, and only then acknowledge it.

        While the broker takes nothing from us the message waits here: giving it back would count as a failed delivery.
        """
        message_type = envelope.type if envelope else delivery.declared_type
        binding = self.bindings.get(message_type)
        failure = Failure(
            error=error,
            service=self.service,
            queue=self.queue,
            handler=binding.name if binding else "none",
            message_type=message_type,
            headers=delivery.headers,
            exchange=delivery.exchange,
            routing_key=delivery.routing_key,
            now=utc_now(),
        )
        outgoing = self._handed_on(delivery, failure, message_type)
        with in_context_of(envelope) if envelope else contextlib.nullcontext():
            log.warning(
                "message.failed",
                type=message_type,
                message_id=delivery.message_id,
                error=type(error).__name__,
                detail=redact(str(error))[:300],  # before it is cut: half a secret has no form
                attempt=failure.attempt,
                to=outgoing.exchange,
            )
        if not await self.publisher.until_ready(stopping) or delivery.channel.is_closed:
            return  # unacknowledged: the broker delivers it again
        failpoint("retry_before_publish")
        if await self.publisher.publish(outgoing) is not Outcome.CONFIRMED:
            await asyncio.sleep(GIVE_BACK_SECONDS)
            await self.settle(delivery, lambda d: d.channel.basic_reject(d.tag, requeue=True, wait=False))
            return
        failpoint("retry_after_publish_before_ack")
        outcome = "dead" if outgoing.exchange == DEAD_LETTER_EXCHANGE else "retry"
        # Whoever publishes may declare any type.
        known = message_type if message_type in self.bindings else metrics.OTHER
        metrics.MESSAGES_CONSUMED.labels(type=known, outcome=outcome).inc()
        await self.settle(delivery, _acknowledge)

    def _handed_on(self, delivery: Delivery, failure: Failure, message_type: str) -> Outgoing:
        tier = failure.next_tier_ms(self.tiers_ms)
        message_id = _uuid_or_derived(delivery)
        if tier is None:
            headers = failure.fault_headers()
            metrics.DEAD_LETTERS_PUBLISHED.labels(reason=headers["pay-fault-reason"]).inc()
            exchange, key = DEAD_LETTER_EXCHANGE, self.service
        else:
            headers = failure.retry_headers()
            metrics.RETRIES_PUBLISHED.labels(tier=str(tier)).inc()
            exchange, key = retry_exchange(tier), self.queue
        return Outgoing(
            message_id=message_id,
            type=message_type,
            exchange=exchange,
            routing_key=key,
            body=delivery.body,
            headers=headers,
            correlation_id=delivery.raw.header.properties.correlation_id,
        )


def _count(incoming: Incoming, outcome: Outcomes, now: datetime) -> None:
    envelope = incoming.envelope
    _consumed(envelope.type, outcome).inc()
    if _EVERYTHING.isEnabledFor(logging.DEBUG):
        with in_context_of(envelope):
            log.debug("message.settled", type=envelope.type, outcome=outcome)
    if outcome == "duplicate":
        metrics.INBOX_DUPLICATES.inc()
    else:
        _end_to_end(envelope.type).observe(max(0.0, (now - envelope.time).total_seconds()))


@cache
def _consumed(message_type: str, outcome: Outcomes) -> Counter:
    return metrics.MESSAGES_CONSUMED.labels(type=message_type, outcome=outcome)


@cache
def _end_to_end(message_type: str) -> Histogram:
    return metrics.MESSAGE_END_TO_END_SECONDS.labels(type=message_type)


async def _acknowledge(delivery: Delivery) -> None:
    await delivery.channel.basic_ack(delivery.tag, wait=False)


async def _acknowledge_all_until(delivery: Delivery) -> None:
    await delivery.channel.basic_ack(delivery.tag, multiple=True, wait=False)


def _uuid_or_derived(delivery: Delivery) -> UUID:
    """The message's id; for one that has none worth the name, an id made from its bytes, the same every time."""
    try:
        return UUID(delivery.message_id)
    except ValueError:
        return derived_id("undecodable", delivery.message_id, delivery.body.hex())
