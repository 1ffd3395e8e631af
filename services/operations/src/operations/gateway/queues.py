"""What the broker says of the queues, through its management API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import structlog

from operations.model.queues import QueueState

TIMEOUT: Final = aiohttp.ClientTimeout(total=2.5, connect=1)
COLUMNS: Final = (
    "name,messages_ready,messages_unacknowledged,consumers,message_stats.publish_details.rate,"
    "message_stats.ack_details.rate"
)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Queues:
    """All queues of a vhost. `management_url` bears the login."""

    management_url: str | None
    vhost: str
    _http: aiohttp.ClientSession | None = None

    async def states(self) -> list[QueueState] | None:
        """All of them; None where the broker does not say."""
        if self.management_url is None:
            return None
        parts = urlsplit(self.management_url)
        if self._http is None:
            basic = aiohttp.encode_basic_auth(unquote(parts.username or ""), unquote(parts.password or ""))
            self._http = aiohttp.ClientSession(
                timeout=TIMEOUT, headers={"Authorization": basic}, cookie_jar=aiohttp.DummyCookieJar()
            )
        url = f"{parts.scheme}://{parts.hostname}:{parts.port}/api/queues/{quote(self.vhost, safe='')}"
        try:
            async with self._http.get(url, params={"columns": COLUMNS}, allow_redirects=False) as answer:
                if answer.status != 200:
                    log.warning("queues.unknown", status=answer.status)
                    return None
                return [_read(row) for row in await answer.json()]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("queues.unknown", error=type(error).__name__)
            return None

    async def close(self) -> None:
        """Close what is open."""
        if self._http is not None:
            await self._http.close()


def _read(row: Mapping[str, Any]) -> QueueState:  # Any: JSON
    stats = row.get("message_stats", {})
    return QueueState(
        name=row["name"],
        ready=int(row.get("messages_ready", 0)),
        unacknowledged=int(row.get("messages_unacknowledged", 0)),
        consumers=int(row.get("consumers", 0)),
        incoming=stats.get("publish_details", {}).get("rate"),
        outgoing=stats.get("ack_details", {}).get("rate"),
    )
