"""What Prometheus says of the alerts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
import structlog

from operations.model.alerts import Alert

TIMEOUT: Final = aiohttp.ClientTimeout(total=2, connect=1)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Alerts:
    """Those of the Prometheus at `url`."""

    url: str
    _http: aiohttp.ClientSession | None = None

    async def active(self) -> list[Alert] | None:
        """All whose condition holds, whether they fire or not yet; None where Prometheus does not say."""
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._http.get(f"{self.url.rstrip('/')}/api/v1/alerts", allow_redirects=False) as answer:
                if answer.status != 200:
                    log.warning("alerts.unknown", status=answer.status)
                    return None
                return [read(row) for row in (await answer.json())["data"]["alerts"]]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("alerts.unknown", error=type(error).__name__)
            return None

    async def close(self) -> None:
        """Close what is open."""
        if self._http is not None:
            await self._http.close()


def read(row: Mapping[str, Any]) -> Alert:  # Any: JSON
    """An alert as Prometheus' API tells it."""
    labels, annotations = row["labels"], row.get("annotations", {})
    return Alert(
        name=labels["alertname"],
        severity=labels.get("severity", ""),
        fires=row["state"] == "firing",
        since=datetime.fromisoformat(row["activeAt"]),
        summary=annotations.get("summary", ""),
        runbook=annotations.get("runbook_url", ""),
    )
