"""One service, run as it is in production, among real servers and neighbours that exist as messages only."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aio_pika
import asyncpg

from payments_shared.auth import ServiceTokens
from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import CATALOG, schema_name
from payments_shared.contracts.message import Message
from payments_shared.contracts.stripe import StripeEvent, message_type
from payments_shared.ids import new_id
from payments_shared.messaging import Broker, Envelope
from payments_shared.messaging.envelope import encode, routing_key
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.topology import EVENTS_EXCHANGE
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.keys import ISSUER
from sandbox.services.resolver import Servers
from tests.support.deadline import eventually

RETRY_TIERS_MS = (100, 200)


@dataclass(frozen=True, slots=True)
class Said:
    """One message in the service's outbox."""

    type: str
    data: Mapping[str, Any]  # Any: JSON
    sequence: int | None


@dataclass(slots=True)
class OneService:
    """A running service and the ways to speak to it and look at it."""

    name: str
    deployment: Deployment
    owner: "asyncpg.Pool[asyncpg.Record]"
    _publishers: dict[str, Publisher] = field(default_factory=dict)
    _linking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def schema(self) -> str:
        return schema_name(self.name)

    @property
    def url(self) -> str:
        return self.deployment.internal_url(self.name)

    def person(self, *roles: str, subject: str = "someone") -> dict[str, str]:
        """Headers of a person with `roles`."""
        return {"Authorization": f"Bearer {self.deployment.keys.token(subject, *roles)}"}

    def checkout(self) -> dict[str, str]:
        """Headers of checkout's calls to inventory."""
        key_file = self.deployment.keys.checkout_key_file
        minter = ServiceTokens(key_file, "checkout", ISSUER, "checkout", "inventory")
        return {"Authorization": f"Bearer {minter.token()}"}

    def deadlocks(self) -> int:
        """How often the database had to end a wait that could not end: each leaves a line in the log."""
        log = self.deployment.children[self.name].log
        return log.read_text(encoding="utf-8").count("DeadlockDetectedError")

    async def say(self, message: Message, *, message_id: UUID | None = None, times: int = 1) -> Envelope:
        """Publish `message` as its owner would, `times` over under one id, and wait for the confirms."""
        type_ = message_type(message.type) if isinstance(message, StripeEvent) else message.TYPE
        speaker = min(CATALOG[type_].speakers)
        envelope = Envelope(
            id=message_id or new_id(),
            source=f"payments/{speaker}",
            type=type_,
            subject=message.subject(),
            time=utc_now(),
            partitionkey=message.partition_key(),
        )
        outgoing = Outgoing(
            message_id=envelope.id,
            type=envelope.type,
            exchange=EVENTS_EXCHANGE,
            routing_key=routing_key(envelope.type, envelope.partitionkey),
            body=encode(envelope, message.model_dump_json().encode()),
        )
        publisher = await self._publisher(speaker)
        for _ in range(times):
            assert await publisher.publish(outgoing) is Outcome.CONFIRMED
        return envelope

    async def tell(self, *messages: Message) -> None:
        """Publish `messages` one after the other and wait until the service has dealt with all of them."""
        envelopes = [await self.say(message) for message in messages]
        await self.heard(*envelopes)

    async def heard(self, *envelopes: Envelope) -> None:
        """Wait until the service's inbox knows all of `envelopes`."""
        ids = [envelope.id for envelope in envelopes]
        sql = f"SELECT count(DISTINCT message_id) FROM {self.schema}.inbox WHERE message_id = ANY($1)"

        async def all_known() -> bool:
            return bool(await self.owner.fetchval(sql, ids) == len(set(ids)))

        await eventually(all_known, within_seconds=30, what=f"inbox of {[e.type for e in envelopes]}")

    async def _publisher(self, speaker: str) -> Publisher:
        async with self._linking:
            if speaker not in self._publishers:
                self._publishers[speaker] = await self._link(speaker)
            return self._publishers[speaker]

    async def _link(self, speaker: str) -> Publisher:
        publisher = Publisher(Broker(self.deployment.provisioned.amqp_urls[speaker], service=speaker))
        stopping = asyncio.Event()
        task = asyncio.ensure_future(publisher.link.keep(stopping))

        async def close() -> None:
            stopping.set()
            await task
            await publisher.link.close()

        self._stack.push_async_callback(close)
        await asyncio.wait_for(publisher.link.ready.wait(), timeout=10)
        return publisher

    async def said(self, about: str) -> list[Said]:
        """What the service announced under the partition key `about`, in order of commit."""
        sql = f"SELECT body FROM {self.schema}.outbox WHERE partition_key = $1 ORDER BY seq"
        bodies = [json.loads(row["body"]) for row in await self.owner.fetch(sql, about)]
        return [Said(body["type"], body["data"], body.get("sequence")) for body in bodies]

    async def dead_letters(self) -> int:
        """How many messages wait in the service's dead letter queue, by its own count."""
        connection = await aio_pika.connect(self.deployment.provisioned.amqp_urls[self.name])
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(f"{self.name}.dlq", passive=True)
            return queue.declaration_result.message_count or 0

    async def close(self) -> None:
        """Close the neighbours' links."""
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def running(
    name: str, servers: Servers, *, beside: tuple[str, ...] = (), **environment: str
) -> AsyncIterator[OneService]:
    """The service `name` with a database and a vhost of its own, both removed. It must end with status 0.

    `beside` names programs of the sandbox that it calls.
    """
    mark = "t" + secrets.token_hex(4)
    async with deploy(
        servers, namespace=mark, names=(*beside, name), retry_tiers_ms=RETRY_TIERS_MS, extra=environment
    ) as deployment:
        owner = await asyncpg.create_pool(deployment.provisioned.owner_database_url, min_size=0, max_size=4)
        service = OneService(name, deployment, owner)
        try:
            yield service
            status = await asyncio.to_thread(deployment.stop, name)
            assert status == 0, deployment.children[name].tail()
        finally:
            await service.close()
            await owner.close()
