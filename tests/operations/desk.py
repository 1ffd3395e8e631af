"""An operator's desk: operations among services that fail on demand, its admin port, and `payctl` as people run it."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

import aio_pika
import aiohttp
import asyncpg

from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import CATALOG
from payments_shared.contracts.checkout import OrderUnheld
from payments_shared.contracts.message import Message
from payments_shared.ids import new_id
from payments_shared.messaging import Envelope
from payments_shared.messaging.envelope import encode, routing_key
from payments_shared.messaging.publisher import Outcome, Outgoing
from payments_shared.messaging.recoverability import ATTEMPT, Failure
from payments_shared.messaging.topology import DEAD_LETTER_EXCHANGE, EVENTS_EXCHANGE, RETURN_EXCHANGE
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.support.deadline import eventually
from tests.support.speaking import speaking

Json = dict[str, Any]  # Any: JSON
BULKS = "/admin/dead-letters/bulks"
LETTERS = "/admin/dead-letters"
LAST_ATTEMPT = 5  # after every retry tier


@dataclass(frozen=True, slots=True)
class Stray:
    """A message as it stands among the dead letters."""

    id: UUID
    type: str
    body: bytes

    @property
    def order(self) -> str:
        """The order that it is about."""
        return str(json.loads(self.body)["partitionkey"])


def message(data: Message, *, spoil: Json | None = None) -> Stray:
    """A message in good form; `spoil` overwrites members of its data."""
    speaker = min(CATALOG[data.TYPE].speakers)
    envelope = Envelope(
        id=new_id(),
        source=f"payments/{speaker}",
        type=data.TYPE,
        subject=data.subject(),
        time=utc_now(),
        partitionkey=data.partition_key(),
    )
    content = {**json.loads(data.model_dump_json()), **(spoil or {})}
    return Stray(envelope.id, data.TYPE, encode(envelope, json.dumps(content).encode()))


def unheld() -> Stray:
    """A fact about a new order that fulfillment takes and says nothing about."""
    return message(OrderUnheld(order_id=new_id()))


def spoiled() -> Stray:
    """One that fails again, the same way each time."""
    return message(OrderUnheld(order_id=new_id()), spoil={"order_id": "nobody's"})


@dataclass(slots=True)
class Desk:
    """A deployment, and the ways to fail, look and act."""

    deployment: Deployment
    http: aiohttp.ClientSession
    owner: "asyncpg.Pool[asyncpg.Record]"
    folder: Path

    # -- failing -----------------------------------------------------------------------------------------------------

    async def fail(
        self,
        messages: Sequence[Stray],
        *,
        service: str = "fulfillment",
        error: BaseException | None = None,
        queue: str = "events",
        replay_id: str | None = None,
    ) -> list[str]:
        """Put messages among the dead letters of a service as the service does; the ids of the dead letters, once
        operations has kept them."""
        await self.strand(messages, service=service, error=error, queue=queue, replay_id=replay_id)
        return await self.kept(messages, service=service)

    async def strand(
        self,
        messages: Sequence[Stray],
        *,
        service: str = "fulfillment",
        error: BaseException | None = None,
        queue: str = "events",
        replay_id: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """As `fail`, without waiting for operations. A connection of its own each time: while `payctl` runs nobody here
        answers the heartbeats of the broker."""
        outgoing = [
            _dead(one, service, error or RuntimeError("mislaid"), queue, replay_id, at or utc_now()) for one in messages
        ]
        async with speaking(self.deployment, service) as publisher:
            assert set(await publisher.publish_many(outgoing)) <= {Outcome.CONFIRMED}

    async def say(self, messages: Sequence[Stray], *, speaker: str = "checkout") -> None:
        """Say messages as their speaker does, to all who hear them. Whoever fails on one does not try it again."""
        outgoing = [_last_try(one, EVENTS_EXCHANGE, routing_key(one.type, one.order)) for one in messages]
        async with speaking(self.deployment, speaker) as publisher:
            assert set(await publisher.publish_many(outgoing)) <= {Outcome.CONFIRMED}

    async def hand(self, messages: Sequence[Stray], *, service: str = "fulfillment") -> None:
        """Hand messages to one service alone, as its retry tiers do. If it fails on one it does not try it again."""
        outgoing = [_last_try(one, RETURN_EXCHANGE, f"{service}.events") for one in messages]
        async with speaking(self.deployment, service) as publisher:
            assert set(await publisher.publish_many(outgoing)) <= {Outcome.CONFIRMED}

    async def kept(self, messages: Sequence[Stray], *, service: str = "fulfillment") -> list[str]:
        """The dead letters of messages, in their order."""
        sql = "SELECT message_id, id FROM operations.dead_letters WHERE service = $1 AND message_id = ANY ($2)"
        ids = [str(one.id) for one in messages]

        async def all_kept() -> dict[str, str]:
            found = {row["message_id"]: str(row["id"]) for row in await self.owner.fetch(sql, service, ids)}
            return found if len(found) == len(set(ids)) else {}

        found = await eventually(all_kept, within_seconds=60, what="dead letters kept")
        return [found[one] for one in ids]

    # -- acting ------------------------------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        path: str,
        body: object | None = None,
        *,
        roles: Sequence[str] = ("operator",),
        who: str = "olga",
    ) -> tuple[int, Json]:
        """One call of operations' admin port."""
        headers = {"Authorization": f"Bearer {self.deployment.keys.token(who, *roles)}"} if roles else {}
        url = self.deployment.internal_url("operations") + path
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def start(self, act: str = "replay", *, who: str = "olga", **asked: Any) -> Json:
        """Start a bulk; again, as told, while the letters are busy."""
        body = {"act": act, "reason": "a test", **asked}

        async def taken() -> Json | None:
            status, bulk = await self.call("POST", BULKS, body, who=who)
            assert status in (202, 503), bulk
            return bulk if status == 202 else None

        started = await eventually(taken, within_seconds=30, what="a bulk is taken")
        assert started is not None
        return started

    async def bulk(self, bulk_id: str) -> Json:
        """How far a bulk is."""
        status, bulk = await self.call("GET", f"{BULKS}/{bulk_id}")
        assert status == 200, bulk
        return bulk

    async def until(self, bulk_id: str, state: str, *, within_seconds: float = 90) -> Json:
        """The bulk once it has `state`."""

        async def reached() -> Json | None:
            with contextlib.suppress(aiohttp.ClientError):  # operations may be starting
                bulk = await self.bulk(bulk_id)
                return bulk if bulk["state"] == state else None
            return None

        found = await eventually(reached, within_seconds=within_seconds, what=f"bulk {state}")
        assert found is not None
        return found

    async def letter(self, letter_id: str) -> Json:
        """One dead letter with everything about it."""
        status, letter = await self.call("GET", f"{LETTERS}/{letter_id}")
        assert status == 200, letter
        return letter

    async def until_letter(self, letter_id: str, status: str, *, failures: int | None = None) -> Json:
        """The dead letter once it has `status` and has failed `failures` times."""

        async def reached() -> Json | None:
            letter = await self.letter(letter_id)
            counted = failures is None or letter["failures"] == failures
            return letter if letter["status"] == status and counted else None

        found = await eventually(reached, within_seconds=60, what=f"dead letter {status}")
        assert found is not None
        return found

    def payctl(self, *arguments: str, given: str = "", **environment: str) -> tuple[int, str, str]:
        """The command line as an operator runs it: status, stdout, stderr."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "payctl"), *arguments],
            capture_output=True,
            text=True,
            input=given,
            env={**self.shell(), **environment},
            timeout=150,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def shell(self) -> dict[str, str]:
        """The environment of an operator's shell."""
        token = self.folder / "token"
        token.write_text(self.deployment.keys.token("olga", "operator"))
        return {
            "PATH": os.environ["PATH"],
            "PAYMENTS_OPERATIONS_URL": self.deployment.internal_url("operations"),
            "PAYMENTS_TOKEN_FILE": str(token),
        }

    # -- looking -----------------------------------------------------------------------------------------------------

    async def statuses(self, letters: Sequence[str]) -> Counter[str]:
        """How many of `letters` have each status."""
        sql = "SELECT status FROM operations.dead_letters WHERE id = ANY ($1::uuid[])"
        return Counter(row["status"] for row in await self.owner.fetch(sql, [UUID(one) for one in letters]))

    async def audit(self, letters: Sequence[str]) -> list["asyncpg.Record"]:
        """What the audit says of `letters`, in order."""
        sql = "SELECT * FROM operations.dead_letter_audit WHERE dead_letter_id = ANY ($1::uuid[]) ORDER BY id"
        return list(await self.owner.fetch(sql, [UUID(one) for one in letters]))

    async def replays_of(self, letters: Sequence[str]) -> list["asyncpg.Record"]:
        """Every replay of `letters`."""
        sql = "SELECT * FROM operations.replays WHERE dead_letter_id = ANY ($1::uuid[]) ORDER BY made_at, id"
        return list(await self.owner.fetch(sql, [UUID(one) for one in letters]))

    async def consumed(self, service: str, type_: str) -> Counter[str]:
        """How often a service settled deliveries of a type, by outcome, by its own count."""
        async with self.http.get(self.deployment.internal_url(service) + "/metrics") as answer:
            text = await answer.text()
        pattern = rf'^payments_messages_consumed_total{{outcome="(\w+)",type="{re.escape(type_)}"}} (\S+)$'
        return Counter({outcome: int(float(value)) for outcome, value in re.findall(pattern, text, re.MULTILINE)})

    async def inboxed(self, service: str, messages: Sequence[Stray]) -> int:
        """How many of `messages` took effect in a service."""
        sql = f"SELECT count(*) FROM {service}.inbox WHERE message_id = ANY ($1)"
        return int(await self.owner.fetchval(sql, [one.id for one in messages]))

    async def depth(self, user: str, queue: str) -> int:
        """How many messages wait in a queue."""
        connection = await aio_pika.connect(self.deployment.provisioned.amqp_urls[user])
        async with connection:
            channel = await connection.channel()
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0

    async def cut_links(self, service: str) -> int:
        """Close every connection of a service at the broker; how many there were. The broker's statistics, by which
        it knows them, come late: look again until there are some."""
        login = f"{self.deployment.provisioned.vhost}_{service}"
        admin = self.deployment.servers.management_url

        async def found() -> list[str]:
            async with self.http.get(f"{_without_login(admin)}/api/connections", headers=_login(admin)) as answer:
                return [row["name"] for row in await answer.json() if row.get("user") == login]

        names = await eventually(found, within_seconds=30, what=f"connections of {service}")
        for name in names:
            url = f"{_without_login(admin)}/api/connections/{quote(name, safe='')}"
            async with self.http.delete(url, headers=_login(admin)) as answer:
                await answer.read()
        return len(names)


def _login(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    basic = aiohttp.encode_basic_auth(unquote(parts.username or ""), unquote(parts.password or ""))
    return {"Authorization": basic}


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}"


def _last_try(one: Stray, exchange: str, key: str) -> Outgoing:
    return Outgoing(one.id, one.type, exchange, key, one.body, {ATTEMPT: LAST_ATTEMPT}, one.order)


def _dead(  # noqa: PLR0917 - all of them make the letter
    one: Stray, service: str, error: BaseException, queue: str, replay_id: str | None, at: datetime
) -> Outgoing:
    failure = Failure(
        error=error,
        service=service,
        queue=f"{service}.{queue}",
        handler="tests:none",
        message_type=one.type,
        headers={"pay-replay-id": replay_id} if replay_id else {},
        exchange="pay.events",
        routing_key=f"{one.type}.b00",
        now=at,
    )
    return Outgoing(one.id, one.type, DEAD_LETTER_EXCHANGE, service, one.body, failure.fault_headers())


@contextlib.asynccontextmanager
async def desk_at(
    servers: Servers, folder: Path, *, names: Sequence[str] = ("fulfillment", "operations"), mark: str, **extra: str
) -> AsyncIterator[Desk]:
    """A desk with services of its own."""
    async with deploy(servers, namespace=mark, names=names, retry_tiers_ms=(100, 200), extra=extra) as deployment:
        owner = await asyncpg.create_pool(deployment.provisioned.owner_database_url, min_size=0, max_size=4)
        async with aiohttp.ClientSession() as http:
            try:
                yield Desk(deployment, http, owner, folder)
            finally:
                await owner.close()
