"""Reading server-sent events as a browser's EventSource does."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from tests.support.shopping import Json


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its id, its name, and its data from JSON."""

    id: str
    name: str
    data: Json


@dataclass(slots=True)
class Reader:
    """An open stream. `last_id` is what a browser would send as Last-Event-ID; `comments` counts lines that say
    nothing."""

    answer: aiohttp.ClientResponse
    last_id: str = ""
    retry: str = ""
    comments: int = 0
    _fields: dict[str, str] = field(default_factory=dict)

    async def next(self, *, within_seconds: float = 20.0) -> Event | None:
        """The next event; None when the stream has ended."""
        async with asyncio.timeout(within_seconds):
            while line := await self.answer.content.readline():
                if (event := self._read(line.decode().rstrip("\n"))) is not None:
                    return event
        return None

    async def until(self, status: str, *, within_seconds: float = 20.0) -> Event:
        """The first event that shows the order in `status`."""
        async with asyncio.timeout(within_seconds):
            while (event := await self.next(within_seconds=within_seconds)) is not None:
                if event.data["status"] == status:
                    return event
        raise AssertionError(f"the stream ended before the order was {status}")

    def _read(self, line: str) -> Event | None:
        if not line:
            fields, self._fields = self._fields, {}
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                return Event(self.last_id, fields.get("event", "message"), json.loads(fields["data"]))
            return None
        name, _, value = line.partition(":")
        if not name:
            self.comments += 1
        elif name == "retry":
            self.retry = value.strip()
        else:
            self._fields[name] = value.removeprefix(" ")
        return None


@contextlib.asynccontextmanager
async def opened(http: aiohttp.ClientSession, url: str, **headers: str) -> AsyncIterator[Reader]:
    """The stream at `url`; whatever status it has."""
    patience = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with http.get(url, headers={"Accept": "text/event-stream", **headers}, timeout=patience) as answer:
        yield Reader(answer)
