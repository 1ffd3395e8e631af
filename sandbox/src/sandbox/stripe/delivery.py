"""Deliver events to webhook endpoints: signed, at least once, in no particular order, again after a failure."""

import asyncio
import hashlib
import hmac
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import structlog

from sandbox.stripe.store import Json, Store, new_id

RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # three days, compressed
ANSWER_TIMEOUT_SECONDS: Final = 10.0
CONCURRENCY: Final = 32
PAUSED_POLL_SECONDS: Final = 0.05

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Chaos:
    """How deliveries misbehave. Probabilities from 0 to 1, delays in seconds."""

    duplicate: float = 0.0
    reorder_seconds: float = 0.0
    delay_seconds: float = 0.0
    drop: float = 0.0
    late_seconds: int = 0
    two_signatures: bool = False
    paused: bool = False


@dataclass(slots=True)
class Deliverer:
    """Sends what waits."""

    store: Store
    http: aiohttp.ClientSession
    chaos: Chaos = field(default_factory=Chaos)
    chance: random.Random = field(default_factory=random.Random)
    attempts: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    misbehaved: dict[str, int] = field(default_factory=dict)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENCY))

    def resume(self) -> None:
        """After a start: go on with what had not been delivered."""
        for delivery in self.store.all("_delivery"):
            if delivery["state"] == "waiting":
                self.send(self.store.objects[delivery["event"]], delivery)

    def sent(self, event: Json) -> None:
        """Deliver a new event to every endpoint that wants it."""
        delivery = self.store.objects["dlv_" + event["id"]]
        if self.chance.random() < self.chaos.drop:
            self._note("drop")
            delivery["state"] = "dropped"
            self.store.put("_delivery", delivery)
            return
        copies = 2 if self.chance.random() < self.chaos.duplicate else 1
        if copies > 1:
            self._note("duplicate")
        for _ in range(copies):
            self.send(event, delivery)

    def _note(self, what: str) -> None:
        self.misbehaved[what] = self.misbehaved.get(what, 0) + 1

    def send(self, event: Json, delivery: Json) -> None:
        """Begin one delivery in the background."""
        task = asyncio.get_running_loop().create_task(self._deliver(event, delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, event: Json, delivery: Json) -> None:
        wait = self.chaos.delay_seconds + self.chance.random() * self.chaos.reorder_seconds
        if wait:
            self._note("delay" if self.chaos.delay_seconds else "reorder")
            await asyncio.sleep(wait)
        reached: set[str] = set()
        for pause in (*RETRY_SECONDS, None):
            while self.chaos.paused:
                await asyncio.sleep(PAUSED_POLL_SECONDS)
            delivery["attempts"] += 1
            if await self._everywhere(event, reached):
                delivery["state"] = "delivered"
                event["pending_webhooks"] = 0
                self.store.put("event", event)
                break
            if pause is None:
                delivery["state"] = "failed"
                break
            await asyncio.sleep(pause * (0.5 + self.chance.random()))
        # Not committed here: what a kill makes us forget is delivered once more, as Stripe may do at any time.
        self.store.put("_delivery", delivery)

    async def _everywhere(self, event: Json, reached: set[str]) -> bool:
        """Post to every endpoint that wants the event and was not reached before; whether all are reached now."""
        wanting = [e for e in self.store.all("webhook_endpoint") if _wants(e, event) and e["id"] not in reached]
        statuses = [await self.post(event, endpoint) for endpoint in wanting]
        good = [e["id"] for e, status in zip(wanting, statuses, strict=True) if status in range(200, 300)]
        reached.update(good)
        return len(good) == len(wanting)

    async def post(self, event: Json, endpoint: Json) -> int:
        """One attempt; the status, 0 for no answer."""
        body = json.dumps(event, separators=(",", ":")).encode()
        secret = self.store.objects["whs_" + endpoint["id"]]["secret"]
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": self._signature(body, secret),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        async with self._slots:
            self.attempts += 1
            try:
                timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS)
                async with self.http.post(
                    endpoint["url"], data=body, headers=headers, timeout=timeout, allow_redirects=False
                ) as answer:
                    await answer.read()
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError, OSError):
                status = 0
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return status

    def _signature(self, body: bytes, secret: str) -> str:
        now = int(time.time()) - self.chaos.late_seconds
        if self.chaos.two_signatures:  # as while a secret is rolled: one is by a secret that the receiver lacks
            return signature(body, new_id("whsec", 32), now, secret)
        return signature(body, secret, now)

    async def burst(self, event: Json, copies: int, *, alias: bool = False) -> list[int]:
        """Deliver one event `copies` times at once, under another id when `alias`, and return the statuses."""
        if alias:
            event = {**event, "id": new_id("evt")}
            self.store.put("event", event)
            self.store.put(
                "_delivery",
                {"id": "dlv_" + event["id"], "event": event["id"], "state": "delivered", "attempts": 1},
            )
            self.store.commit()
        endpoints = self.store.all("webhook_endpoint")
        return list(
            await asyncio.gather(*(self.post(event, endpoint) for endpoint in endpoints for _ in range(copies)))
        )

    async def close(self) -> None:
        """Stop; what was not delivered waits for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _wants(endpoint: Json, event: Json) -> bool:
    return endpoint["status"] == "enabled" and not {"*", event["type"]}.isdisjoint(endpoint["enabled_events"])


def signature(body: bytes, secret: str, timestamp: int, *further: str) -> str:
    """The `Stripe-Signature` header: a `v1` by each secret and, as in test mode, a `v0` that means nothing."""
    signed = str(timestamp).encode() + b"." + body
    good = [hmac.new(each.encode(), signed, hashlib.sha256).hexdigest() for each in (secret, *further)]
    junk = hmac.new(b"v0", signed, hashlib.sha256).hexdigest()
    return ",".join([f"t={timestamp}", *(f"v1={each}" for each in good), f"v0={junk}"])


def endpoint(store: Store, url: str, secret: str, events: list[str], **given: Any) -> Json:
    """Register an endpoint."""
    value: Json = {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": store.now(),
        "description": None,
        "enabled_events": events,
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }
    value.update(given)
    store.put("_webhook_secret", {"id": "whs_" + value["id"], "secret": secret})
    return store.put("webhook_endpoint", value)
