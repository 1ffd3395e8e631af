"""Exchanges, queues and bindings, made from the catalogue of contracts; and the permissions that go with them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import aio_pika
import aio_pika.abc
import aiohttp

from payments_shared.contracts import catalog

EVENTS_EXCHANGE: Final = "pay.events"
DEAD_LETTER_EXCHANGE: Final = "pay.dlx"
RETURN_EXCHANGE: Final = "pay.return"
"""Where retry tiers and replays hand a message back to one queue, whose name is the routing key.

It stands in for the default exchange, which a service would need the right to write to, and with it to every queue.
"""
RETRY_TIERS_MS: Final = (5_000, 30_000, 120_000, 600_000)
DELIVERY_LIMIT: Final = 20  # prefetch above one ages innocent neighbours in a crash loop; dead letters absorb the rest
UNLIMITED_DELIVERIES: Final = 1_000_000  # -1 drops messages on some versions

Arguments = dict[str, Any]  # Any: AMQP table values


def retry_exchange(tier_ms: int) -> str:
    """The exchange of one retry tier; its routing key is the queue to return to."""
    return f"pay.retry.{tier_ms}"


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """One queue and its bindings as (exchange, key)."""

    name: str
    arguments: Arguments
    bindings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """The queues of one service in the order in which they must be declared: what others dead-letter into, first."""

    service: str
    queues: tuple[QueueSpec, ...]
    retry_tiers_ms: tuple[int, ...] = field(default=RETRY_TIERS_MS)

    @classmethod
    def of(cls, service: str, retry_tiers_ms: Sequence[int] = RETRY_TIERS_MS) -> "Topology":
        """The topology of `service`, which may be any of `catalog.CONSUMERS`."""
        tiers = tuple(retry_tiers_ms)
        dead = QueueSpec(f"{service}.dlq", _dead_letter_arguments(), ((DEAD_LETTER_EXCHANGE, service),))
        retries = tuple(
            QueueSpec(f"{service}.retry.{ms}", _retry_arguments(ms), ((retry_exchange(ms), f"{service}.#"),))
            for ms in tiers
        )
        facts = tuple((EVENTS_EXCHANGE, f"{entry.name}.*") for entry in catalog.heard_by(service))
        back = (RETURN_EXCHANGE, f"{service}.events")
        mains = [QueueSpec(f"{service}.events", _main_arguments(service), (back, *facts))]
        if commands := catalog.commands_of(service):
            keys = tuple((EVENTS_EXCHANGE, f"{entry.name}.*") for entry in commands)
            back = (RETURN_EXCHANGE, f"{service}.work")
            mains.append(QueueSpec(f"{service}.work", _main_arguments(service), (back, *keys)))
        return cls(service, (dead, *retries, *mains), tiers)


def _main_arguments(service: str) -> Arguments:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
        "x-dead-letter-routing-key": service,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # without it at-least-once silently becomes at-most-once
    }


def _retry_arguments(tier_ms: int) -> Arguments:
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": tier_ms,
        "x-dead-letter-exchange": RETURN_EXCHANGE,  # the routing key stays: it names the queue to return to
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _dead_letter_arguments() -> Arguments:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": UNLIMITED_DELIVERIES,
        "x-overflow": "reject-publish",
    }


async def declare_all(channel: aio_pika.abc.AbstractChannel, retry_tiers_ms: Sequence[int] = RETRY_TIERS_MS) -> None:
    """Declare what all services share, and the queues of each: a hearer that has never run yet misses nothing.

    Needs an administrator of the vhost; a service may declare its own queues alone.
    """
    await _declare_exchanges(channel, retry_tiers_ms)
    for service in catalog.CONSUMERS:
        await declare(channel, Topology.of(service, retry_tiers_ms))


async def _declare_exchanges(channel: aio_pika.abc.AbstractChannel, retry_tiers_ms: Sequence[int]) -> None:
    names = (
        EVENTS_EXCHANGE,
        DEAD_LETTER_EXCHANGE,
        RETURN_EXCHANGE,
        *(retry_exchange(ms) for ms in retry_tiers_ms),
    )
    for name in names:
        await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)


async def declare(channel: aio_pika.abc.AbstractChannel, topology: Topology) -> None:
    """Declare and bind the queues of one service. Repeating it changes nothing and restores what was deleted.

    `channel` should be one of its own: a refused declare closes it.
    """
    for spec in topology.queues:
        queue = await channel.declare_queue(spec.name, durable=True, arguments=spec.arguments)
        for exchange, key in spec.bindings:
            await queue.bind(exchange, key)


async def missing(management_url: str, vhost: str, topology: Topology) -> list[str]:
    """What the broker lacks of `topology`, in words, asked through the management API. Empty when all is there.

    Arguments are compared too: a queue without its dead-letter strategy loses messages in silence.
    """
    problems: list[str] = []
    timeout = aiohttp.ClientTimeout(total=5)
    base_url, headers = _split_login(management_url)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as http:
        for spec in topology.queues:
            base = f"{base_url}/api/queues/{quote(vhost, safe='')}/{quote(spec.name, safe='')}"
            async with http.get(base) as answer:
                if answer.status == 404:
                    problems.append(f"queue {spec.name} is missing")
                    continue
                answer.raise_for_status()
                actual = (await answer.json())["arguments"]
            problems += [
                f"queue {spec.name} has {name}={actual.get(name)!r}, not {wanted!r}"
                for name, wanted in spec.arguments.items()
                if actual.get(name) != wanted
            ]
            async with http.get(f"{base}/bindings") as answer:
                answer.raise_for_status()
                bound = {(row["source"], row["routing_key"]) for row in await answer.json()}
            problems += [f"queue {spec.name} is not bound to {b}" for b in spec.bindings if b not in bound]
    return problems


async def unheard(management_url: str, vhost: str, service: str) -> list[str]:
    """Which queues of the catalogue do not get what `service` says, in words. Empty when everything is heard by all.

    `mandatory` cannot tell: operations hears every fact, so that a message always reaches some queue.
    """
    base_url, headers = _split_login(management_url)
    url = f"{base_url}/api/exchanges/{quote(vhost, safe='')}/{EVENTS_EXCHANGE}/bindings/source"
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5), headers=headers) as http,
        http.get(url) as answer,
    ):
        answer.raise_for_status()
        bound = {(row["destination"], row["routing_key"]) for row in await answer.json()}
    deaf: dict[str, list[str]] = {}
    for entry in catalog.said_by(service):
        for hearer in sorted(entry.hearers):
            queue = f"{hearer}.{'work' if entry.command else 'events'}"
            if (queue, f"{entry.name}.*") not in bound:
                deaf.setdefault(queue, []).append(entry.name)
    return [f"queue {queue} does not hear {', '.join(names)}" for queue, names in deaf.items()]


def _split_login(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    basic = aiohttp.encode_basic_auth(unquote(parts.username or ""), unquote(parts.password or ""))
    return f"{parts.scheme}://{parts.hostname}:{parts.port}", {"Authorization": basic}


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one service's user may do, as RabbitMQ's regular expressions.

    `topics` are (exchange, write, read) patterns over routing and binding keys.
    """

    configure: str
    write: str
    read: str
    topics: tuple[tuple[str, str, str], ...]


def permissions_of(service: str, retry_tiers_ms: Sequence[int] = RETRY_TIERS_MS) -> Permissions:
    """The least that `service` needs: its own queues, what it says, what it hears, its own retries."""
    said = _any_of(f"{re.escape(entry.name)}\\.b[0-9][0-9]" for entry in catalog.said_by(service))
    if service not in catalog.CONSUMERS:
        return Permissions("^$", r"^pay\.events$", "^$", ((EVENTS_EXCHANGE, said, "^$"),))
    own = rf"{re.escape(service)}\..*"
    heard = _any_of(
        rf"{re.escape(entry.name)}\.\*" for entry in (*catalog.heard_by(service), *catalog.commands_of(service))
    )
    own_queues = rf"^{re.escape(service)}\.(events|work)$"
    retries = tuple((retry_exchange(ms), own_queues, rf"^{re.escape(service)}\.#$") for ms in retry_tiers_ms)
    shared = r"pay\.(events|dlx|return|retry\.[0-9]+)"
    replays = r"^[a-z-]+\.(events|work)$" if service == "operations" else own_queues
    others = r"|[a-z-]+\.dlq" if service == "operations" else ""
    return Permissions(
        configure=rf"^{own}$",
        write=rf"^({own}|{shared})$",
        read=rf"^({own}|{shared}{others})$",
        topics=(
            (EVENTS_EXCHANGE, said, heard),
            (DEAD_LETTER_EXCHANGE, rf"^{re.escape(service)}$", rf"^{re.escape(service)}$"),
            (RETURN_EXCHANGE, replays, own_queues),
            *retries,
        ),
    )


def _any_of(patterns: Iterable[str]) -> str:
    return "^(" + "|".join(patterns) + ")$"
