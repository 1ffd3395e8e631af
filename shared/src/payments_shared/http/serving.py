"""Listening: what is safe against slow and hostile clients, the same on every port."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

LINGER_SECONDS = 2.0  # for bytes still under way after an early answer; aiohttp's ten would double the body's deadline
# A connection that nobody uses is closed by whoever is in front, never by us: it could close in the moment the other
# sends into it. That is longer than proxies keep one, ingress-nginx for 60 seconds unless it is told otherwise.
IDLE_SECONDS: Final = 75.0
KEPT_SECONDS: Final = 1.0  # for which services keep a connection to each other: less than it takes one to leave
GUESTS_SECONDS: Final = 10.0  # who are inside when a door closes, where nobody says otherwise


@dataclass(slots=True)
class Leaving:
    """Whether an application sends its guests elsewhere: it is not ready, and each answer ends its connection. Whoever
    keeps connections open would else send into one that is just being closed, and could not know what became of it."""

    begun: bool = False


LEAVING: Final = web.AppKey("leaving", Leaving)


@dataclass(frozen=True, slots=True)
class Server:
    """A listening application."""

    runner: web.AppRunner
    host: str
    port: int
    leaving: Leaving = field(default_factory=Leaving)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def leave(self) -> None:
        """Send guests elsewhere, and serve those who come all the same."""
        self.leaving.begun = True

    async def stop(self, *, within_seconds: float = GUESTS_SECONDS) -> None:
        """Accept no more, let requests in flight finish, close. Bodies that are still under way have half of the time,
        and handlers all of it; then their connections are closed."""
        for site in tuple(self.runner.sites):
            await site.stop()
        if (server := self.runner.server) is not None:
            await asyncio.sleep(0)  # what was accepted before has begun
            server.pre_shutdown()
            # aiohttp waits twice for as long as it is told, with the body closed the second time.
            await server.shutdown(within_seconds / 2)
        await self.runner.cleanup()


async def serve(app: web.Application, *, host: str, port: int) -> Server:
    """Listen on `host:port`; port 0 takes a free one, which the result tells.

    Bodies are never decompressed: a small bomb would stall every other request for most of a second.
    """
    runner = web.AppRunner(
        app,
        auto_decompress=False,
        access_log=None,
        logger=_parser_log(),
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGER_SECONDS,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    address = runner.addresses[0]
    return Server(runner, host, int(address[1]), app.get(LEAVING) or Leaving())


class _WithoutTheirBytes(logging.Filter):
    """The parser's refusals quote what was sent, query strings and credentials included; the line says the fact."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args, record.exc_info = f"http.unparseable {type(error).__name__}", (), None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


def _parser_log() -> logging.Logger:
    log = logging.getLogger("payments_shared.http.parser")
    if not log.filters:
        log.addFilter(_WithoutTheirBytes())
    return log
