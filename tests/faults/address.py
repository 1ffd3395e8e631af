"""An address that stays while what is behind it changes, as that of a service in a cluster does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Address:
    """A port of the loopback. Whoever connects comes to the port `behind`, and stays there however that changes."""

    behind: int = 0
    _busy: set["asyncio.Task[None]"] = field(default_factory=set)

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, port: int) -> AsyncIterator["Address"]:
        """Listen on `port` to the end of the block."""
        made = cls()
        server = await asyncio.start_server(made._connected, "127.0.0.1", port, backlog=1024)
        try:
            yield made
        finally:
            server.close()
            for task in made._busy:
                task.cancel()
            await asyncio.gather(*made._busy, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            await self._joined(reader, writer)
        except OSError:
            writer.transport.abort()  # what became of one side is told to the other
        finally:
            self._busy.discard(task)
            writer.close()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_connection("127.0.0.1", self.behind)
        try:
            asking = asyncio.ensure_future(_copied(reader, questions))
            try:
                await _copied(answers, writer)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        finally:
            questions.close()


async def _copied(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(65536):
        target.write(piece)
        await target.drain()
    target.write_eof()
