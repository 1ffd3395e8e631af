"""Listening: what is safe against slow and hostile clients, the same on every port."""

from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Server:
    """A listening application."""

    runner: web.AppRunner
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def stop(self) -> None:
        """Accept no more, let requests in flight finish, close."""
        await self.runner.cleanup()


async def serve(app: web.Application, *, host: str, port: int) -> Server:
    """Listen on `host:port`; port 0 takes a free one, which the result tells.

    Bodies are never decompressed: a small bomb would stall every other request for most of a second.
    """
    runner = web.AppRunner(app, auto_decompress=False, access_log=None, keepalive_timeout=15.0, shutdown_timeout=10.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    address = runner.addresses[0]
    return Server(runner, host, int(address[1]))
