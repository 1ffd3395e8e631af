"""Connections to the broker that come back.

One connection publishes and another consumes: an alarm at the broker blocks whoever publishes, and must not stop
acknowledgements. Each is a plain connection in a loop of ours (connect, set up, wait for its end, again), so that
everything that has to be restored is restored in one visible place.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote, urlsplit

import aio_pika
import aio_pika.abc
import aiormq
import structlog

from payments_shared import metrics
from payments_shared.logs import redact

HEARTBEAT_SECONDS: Final = 10
CONNECT_TIMEOUT_SECONDS: Final = 5.0
RECONNECT_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)

Setup = Callable[[aio_pika.abc.AbstractConnection], Awaitable[None]]


class Link:
    """One connection that is kept open. `setup` runs on every new connection before it counts as ready."""

    def __init__(self, url: str, *, name: str, role: str, setup: Setup) -> None:
        self._url = url
        self._name = name
        self._role = role
        self._setup = setup
        self._lost = asyncio.Event()
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self.ready = asyncio.Event()

    async def keep(self, stopping: asyncio.Event) -> None:
        """Connect, and connect again, until `stopping`."""
        while not stopping.is_set():
            try:
                await self._once(stopping)
            except Exception as error:
                # RuntimeError is ChannelInvalidStateError's base: the channel died while it was being set up.
                known = isinstance(error, OSError | TimeoutError | aio_pika.exceptions.AMQPError | RuntimeError)
                if not known and not ended_without_reason(error):
                    raise
                log.warning(
                    "amqp.connection_failed",
                    role=self._role,
                    error=type(error).__name__,
                    detail=redact(str(error))[:200],
                )
            finally:
                self.ready.clear()
                metrics.AMQP_CONNECTED.labels(role=self._role).set(0)
            if not stopping.is_set():
                await wait_first(stopping, timeout_seconds=RECONNECT_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311

    async def _once(self, stopping: asyncio.Event) -> None:
        self._lost.clear()
        connection = await aio_pika.connect(
            self._url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            heartbeat=HEARTBEAT_SECONDS,
            client_properties={"connection_name": self._name},
        )
        self._connection = connection
        connection.close_callbacks.add(self._closed)
        try:
            await asyncio.wait_for(self._setup(connection), timeout=30)
            log.info("amqp.connected", role=self._role)
            metrics.AMQP_CONNECTED.labels(role=self._role).set(1)
            self.ready.set()
            await wait_first(stopping, self._lost)
        finally:
            self.ready.clear()
            self._connection = None
            if not stopping.is_set() or self._lost.is_set():
                await _close_quietly(connection)
            else:
                self._connection = connection  # the drain still needs it; `close` ends it

    def _closed(self, *_: object) -> None:
        self.ready.clear()
        self._lost.set()

    def lose(self) -> None:
        """Give the connection up and connect again: something on it is beyond repair."""
        self._lost.set()

    @property
    def usable(self) -> bool:
        """Whether a connection is open at this moment, also during a drain."""
        return self._connection is not None and not self._connection.is_closed

    async def close(self) -> None:
        """End the connection for good."""
        if self._connection is not None:
            await _close_quietly(self._connection)
            self._connection = None
        metrics.AMQP_CONNECTED.labels(role=self._role).set(0)


class Broker:
    """What a service knows of the broker: who it is there, and its two links."""

    def __init__(self, url: str, *, service: str) -> None:
        self.url = url
        self.service = service
        self.user = unquote(urlsplit(url).username or "")
        if not self.user.endswith(service):
            raise ValueError(f"the broker user of {service} must end in its name")
        self.user_prefix = self.user.removesuffix(service)
        self.vhost = unquote(urlsplit(url).path.removeprefix("/")) or "/"

    def user_of(self, service: str) -> str:
        """The broker user under which `service` publishes in this deployment."""
        return f"{self.user_prefix}{service}"

    def link(self, role: str, setup: Setup) -> Link:
        """A link named `<service>-<role>`, as the management page shows it."""
        return Link(self.url, name=f"{self.user}-{role}", role=role, setup=setup)


def ended_without_reason(error: Exception) -> bool:
    """Whether a channel or connection was closed in good order under a question: aiormq then raises a bare Exception at
    whoever waits for the answer."""
    return type(error) is Exception and not error.args


async def underlay(channel: aio_pika.abc.AbstractChannel) -> aiormq.Channel:
    """The aiormq channel below: batches publish and acknowledge on it without waiting for the socket each time."""
    raw = await channel.get_underlay_channel()
    assert isinstance(raw, aiormq.Channel)  # noqa: S101 - the abstract class lacks `wait`, which we need
    return raw


async def wait_first(*events: asyncio.Event, timeout_seconds: float | None = None) -> None:
    """Return when the first of `events` is set, or after the timeout."""
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)


async def _close_quietly(connection: aio_pika.abc.AbstractConnection) -> None:
    # A connection that is already gone has nothing left to say; what it held is redelivered by the broker.
    with contextlib.suppress(OSError, TimeoutError, RuntimeError, aio_pika.exceptions.AMQPError):
        await asyncio.wait_for(connection.close(), timeout=5)
