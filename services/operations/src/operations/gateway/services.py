"""What each service says of itself on its second port, in Prometheus's text format."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from operations.model.doors import DoorState
from operations.model.services import ServiceState
from payments_shared import tracing
from payments_shared.http import KEPT_SECONDS

TIMEOUT: Final = aiohttp.ClientTimeout(total=2.5, connect=1)
READY: Final = "payments_ready"
DEPTH: Final = "payments_outbox_depth"
OLDEST: Final = "payments_outbox_oldest_seconds"
HELD: Final = "payments_orders_held"
STOPPED: Final = "payments_switch_stopped"
PAUSED: Final = "payments_consumer_paused"
ACTIVE: Final = "payments_consumers_active"
EXPECTED: Final = "payments_consumers_expected"
BREAKER: Final = "payments_stripe_breaker_open"
BLOCKED: Final = "payments_amqp_blocked"
UNANSWERED: Final = "payments_refunds_unanswered"
DOOR_SHOWN: Final = "payments_certificate_shown"
DOOR_BEGINS: Final = "payments_certificate_begins_timestamp_seconds"
DOOR_ENDS: Final = "payments_certificate_ends_timestamp_seconds"
KEY_MADE: Final = "payments_secret_created_timestamp_seconds"
_WANTED: Final = (
    READY, DEPTH, OLDEST, HELD, STOPPED, PAUSED, ACTIVE, EXPECTED, BREAKER, BLOCKED, UNANSWERED,
    DOOR_SHOWN, DOOR_BEGINS, DOOR_ENDS, KEY_MADE,
)  # fmt: skip


@dataclass(slots=True)
class Services:
    """The second ports, by the services' names."""

    urls: Mapping[str, str]
    _http: aiohttp.ClientSession | None = None

    async def states(self) -> list[ServiceState]:
        """All of them, asked at once. One that does not answer in time is one that does not."""
        return list(await asyncio.gather(*(self._state(name, url) for name, url in self.urls.items())))

    async def close(self) -> None:
        """Close what is open."""
        if self._http is not None:
            await self._http.close()

    async def _state(self, name: str, url: str) -> ServiceState:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=KEPT_SECONDS),
                timeout=TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=tracing.client_traces(),
            )
        try:
            async with self._http.get(f"{url.rstrip('/')}/metrics", allow_redirects=False) as answer:
                text = await answer.text()
                return read(name, text) if answer.status == 200 else ServiceState(name, answers=False)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return ServiceState(name, answers=False)


def read(name: str, exposition: str) -> ServiceState:
    """The state of a service by its exposition.

    Raises:
        ValueError: that is none.
    """
    found: dict[str, list[Sample]] = {wanted: [] for wanted in _WANTED}
    for sample in _samples(exposition):
        found.get(sample.name, []).append(sample)
    depth, oldest = _value(found[DEPTH]), _value(found[OLDEST])
    return ServiceState(
        name=name,
        answers=True,
        failing=tuple(sorted(one.labels.get("check", "") for one in found[READY] if one.value == 0)),
        outbox_depth=None if depth is None else int(depth),
        outbox_oldest_seconds=oldest,
        stopped=tuple(sorted(one.labels.get("switch", "") for one in found[STOPPED] if one.value)),
        resting={one.labels.get("queue", ""): one.labels.get("reason", "") for one in found[PAUSED] if one.value},
        idle=tuple(sorted(_queues(found[EXPECTED]) - _queues(found[ACTIVE]))),
        orders_held={one.labels.get("reason", ""): int(one.value) for one in found[HELD] if one.value},
        stripe_away=any(one.value for one in found[BREAKER]),
        broker_blocks=any(one.value for one in found[BLOCKED]),
        refunds_unanswered=int(_value(found[UNANSWERED]) or 0),
        doors=_doors(found),
        secrets_made=_moments(found[KEY_MADE], "secret"),
    )


def _samples(exposition: str) -> Iterator[Sample]:
    """Only what is wanted is parsed: all of it would keep the event loop busy."""
    lines = (line for line in exposition.splitlines() if line.startswith(_WANTED))
    for metric in text_string_to_metric_families("\n".join(lines) + "\n"):
        yield from metric.samples


def _doors(found: Mapping[str, Sequence[Sample]]) -> tuple[DoorState, ...]:
    begins, ends = _moments(found[DOOR_BEGINS], "door"), _moments(found[DOOR_ENDS], "door")
    shown = {one.labels.get("door", ""): bool(one.value) for one in found[DOOR_SHOWN]}
    return tuple(DoorState(door, shown[door], begins.get(door), ends.get(door)) for door in sorted(shown))


def _moments(samples: Sequence[Sample], label: str) -> dict[str, datetime]:
    return {one.labels.get(label, ""): datetime.fromtimestamp(one.value, UTC) for one in samples}


def _queues(samples: Sequence[Sample]) -> frozenset[str]:
    return frozenset(one.labels.get("queue", "") for one in samples if one.value)


def _value(samples: Sequence[Sample]) -> float | None:
    return samples[0].value if samples else None
