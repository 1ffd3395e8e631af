"""A batch of publishes on one confirming channel: one write, one wait.

aiormq's own `basic_publish` costs a task, a lock, a timeout and a queue entry for each message, several times what the
message itself costs. Its confirmations and returns are used as they are; only the way out is shared.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiormq
import aiormq.exceptions
from aiormq import spec
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

CHUNK: Final = 50  # so that the loop breathes: a chunk takes about a millisecond to write down; what may wait unsent

Confirmation = asyncio.Future[Any]  # Any: aiormq's confirmation frame, or its error


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message in the broker's terms. Its properties carry a message id, by which a return is told."""

    exchange: str
    routing_key: str
    properties: spec.Basic.Properties
    body: bytes


async def publish_parcels(
    channel: aiormq.Channel, parcels: Sequence[Parcel], *, timeout_seconds: float
) -> list[Confirmation]:
    """Publish `parcels`, mandatory and in their order, and wait until all are confirmed, returned or refused.

    The answer has one confirmation for each that was written, from the first on: fewer when the channel closed, the
    broker held us back or `timeout_seconds` ran out, and then those not known are cancelled. A chunk is written when
    the socket has taken the one before: a broker that does not read leaves one chunk in memory, not all of them.
    """
    confirmations: list[Confirmation] = []
    try:
        # What closes the channel fails its confirmations as well: there is the reason of each.
        with contextlib.suppress(TimeoutError, OSError, RuntimeError, aiormq.exceptions.AMQPError):
            async with asyncio.timeout(timeout_seconds):
                for start in range(0, len(parcels), CHUNK):
                    if is_held_back(channel):
                        break
                    drained = channel.create_future()
                    try:
                        confirmations += await _write(channel, parcels[start : start + CHUNK], drained)
                        await asyncio.wait([drained])
                    finally:
                        drained.cancel()
                if confirmations:
                    await asyncio.wait(confirmations)
    finally:
        for parcel, confirmation in zip(parcels, confirmations, strict=False):
            confirmation.cancel()  # does nothing to those that are done
            channel.message_id_delivery_tag.pop(str(parcel.properties.message_id), None)
    return confirmations


def is_held_back(channel: aiormq.Channel) -> bool:
    """Whether the broker has said `connection.blocked` and not yet `unblocked`: it reads nothing more from us.

    aiormq tells it by `ready()` alone, which waits just as long: one step of it is the answer.
    """
    waiting = channel.connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return True


async def _write(
    channel: aiormq.Channel, parcels: Sequence[Parcel], drained: "asyncio.Future[None]"
) -> list[Confirmation]:
    frames = ChannelFrame.marshall(channel.number, list(_frames(channel, parcels)), drain_future=drained)
    async with channel.lock:
        # The broker counts publishes: what is not written must not be counted.
        tags = range(channel.delivery_tag + 1, channel.delivery_tag + 1 + len(parcels))
        confirmations = [channel.create_future() for _ in tags]
        channel.delivery_tag += len(parcels)
        channel.confirmations.update(zip(tags, confirmations, strict=True))
        channel.message_id_delivery_tag.update(
            (str(parcel.properties.message_id), tag) for parcel, tag in zip(parcels, tags, strict=True)
        )
        try:
            await channel.write_queue.put(frames)
        except BaseException:
            channel.delivery_tag -= len(parcels)
            for tag, parcel, confirmation in zip(tags, parcels, confirmations, strict=True):
                channel.confirmations.pop(tag, None)
                channel.message_id_delivery_tag.pop(str(parcel.properties.message_id), None)
                confirmation.cancel()
            raise
    return confirmations


def _frames(channel: aiormq.Channel, parcels: Sequence[Parcel]) -> Iterator[Any]:  # Any: pamqp's kinds of frame
    size = channel.max_content_size
    for parcel in parcels:
        yield spec.Basic.Publish(exchange=parcel.exchange, routing_key=parcel.routing_key, mandatory=True)
        yield ContentHeader(properties=parcel.properties, body_size=len(parcel.body))
        for start in range(0, len(parcel.body), size):
            yield ContentBody(parcel.body[start : start + size])
