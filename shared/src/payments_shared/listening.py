"""News between processes by way of the database: LISTEN and NOTIFY, on one connection that comes back."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import structlog

from payments_shared.messaging.connection import wait_first
from payments_shared.postgres import is_unavailable, open_connection

if TYPE_CHECKING:
    import asyncpg

PROBE_SECONDS: Final = 5.0  # a server that is frozen, or gone without a word, is noticed after this and one command
RECONNECT_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Listener:
    """Wakes whoever watches what a notification of `channel` names, whichever process sent it.

    News sent while nobody listened are lost, so everybody is woken when the connection has come back. Whoever is woken
    looks for himself: a wake says that something may have changed.
    """

    def __init__(self, dsn: str, *, schema: str, application_name: str, channel: str) -> None:
        self._dsn = dsn
        self._schema = schema
        self._application_name = application_name
        self._channel = channel
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.listening = False

    @contextlib.contextmanager
    def watch(self, name: str) -> Iterator[asyncio.Event]:
        """An event that is set with each notification of `name`; whoever waits for it clears it before he looks."""
        woken = asyncio.Event()
        self._watchers[name].add(woken)
        try:
            yield woken
        finally:
            self._watchers[name].discard(woken)
            if not self._watchers[name]:
                del self._watchers[name]

    def wake_all(self) -> None:
        """Let everybody look."""
        for watchers in self._watchers.values():
            for woken in watchers:
                woken.set()

    async def check(self) -> str | None:
        """For readiness: None while news arrive."""
        return None if self.listening else "not listening"

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen, and listen again, until `stopping`."""
        while not stopping.is_set():
            try:
                await self._listen(stopping)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("listener.connection_failed", channel=self._channel, error=type(error).__name__)
            finally:
                self.listening = False
            if not stopping.is_set():
                pause = RECONNECT_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
                await wait_first(stopping, timeout_seconds=pause)

    async def _listen(self, stopping: asyncio.Event) -> None:
        lost = asyncio.Event()
        connection = await open_connection(
            self._dsn, schema=self._schema, application_name=f"{self._application_name} listener"
        )
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(self._channel, self._heard)
            self.listening = True
            self.wake_all()
            while not (stopping.is_set() or lost.is_set()):
                await wait_first(stopping, lost, timeout_seconds=PROBE_SECONDS)
                if not connection.is_closed():
                    await connection.execute("SELECT 1")
        finally:
            await _close(connection)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for woken in self._watchers.get(str(payload), ()):
            woken.set()


async def _close(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    try:
        await connection.close(timeout=RECONNECT_SECONDS)
    except Exception as error:
        if not is_unavailable(error):
            raise
        connection.terminate()
