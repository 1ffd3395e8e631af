"""One delivery from the broker: where it came from, what it says, and whether its sender may say it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiormq.abc

from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import CATALOG
from payments_shared.messaging import inbox, recoverability
from payments_shared.messaging.connection import Broker
from payments_shared.messaging.envelope import Envelope, Undecodable, decode
from payments_shared.messaging.recoverability import Forged, Forgotten


@dataclass(frozen=True, slots=True)
class Delivery:
    """A raw delivery. It is worth something only while `channel` is open: afterwards the broker delivers again."""

    raw: aiormq.abc.DeliveredMessage
    channel: aiormq.abc.AbstractChannel

    @property
    def tag(self) -> int:
        return self.raw.delivery_tag or 0

    @property
    def body(self) -> bytes:
        return bytes(self.raw.body)

    @property
    def headers(self) -> Mapping[str, Any]:  # Any: AMQP table values
        return self.raw.header.properties.headers or {}

    @property
    def redelivered(self) -> bool:
        return bool(self.raw.redelivered)

    @property
    def failed_deliveries(self) -> int:
        """How often the broker delivered it before and got no answer, by its own count."""
        count = self.headers.get("x-delivery-count", 0)
        return count if isinstance(count, int) else 0

    @property
    def exchange(self) -> str:
        return self.raw.exchange or ""

    @property
    def routing_key(self) -> str:
        return self.raw.routing_key or ""

    @property
    def message_id(self) -> str:
        return self.raw.header.properties.message_id or ""

    @property
    def declared_type(self) -> str:
        return self.raw.header.properties.message_type or "unknown"

    @property
    def user_id(self) -> str:
        return self.raw.header.properties.user_id or ""

    @property
    def replay_id(self) -> UUID | None:
        """The replay that brought this message back, if one did."""
        try:
            return UUID(str(self.headers[recoverability.REPLAY_ID]))
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A delivery that was understood: envelope and data, not yet its typed message."""

    delivery: Delivery
    envelope: Envelope
    data: Any  # Any: typed by the binding's model


def understand(delivery: Delivery, broker: Broker) -> Incoming:
    """Decode `delivery` and check its sender.

    Raises:
        Undecodable: the body is no envelope, or says another id than the properties.
        Forged: its publisher may not say this type.
        Forgotten: it is older than the inbox, and no person has sent it again.
    """
    envelope, data = decode(delivery.body)
    if delivery.message_id != str(envelope.id):
        raise Undecodable("the envelope's id is not the message's id")
    if not may_say(delivery, envelope.type, broker):
        raise Forged(f"user {delivery.user_id!r} may not say {envelope.type}")
    if delivery.replay_id is None and not inbox.remembers(envelope.day, utc_now().date()):
        raise Forgotten(f"said on {envelope.day}, of which nothing is remembered")
    return Incoming(delivery, envelope, data)


def may_say(delivery: Delivery, message_type: str, broker: Broker) -> bool:
    """Whether the publisher is a speaker of the type, ourselves (a retry), or operations with a replay id.

    The broker guarantees `user_id`: it refuses a publish whose `user_id` is not the connection's user.
    """
    entry = CATALOG.get(message_type)
    if entry is not None and delivery.user_id in {broker.user_of(name) for name in entry.speakers}:
        return True
    if delivery.user_id == broker.user:
        return recoverability.ATTEMPT in delivery.headers
    return delivery.user_id == broker.user_of("operations") and delivery.replay_id is not None
