"""What the front door writes down: who knocks at the webhook's door, and of no request what it holds."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.deploy.caddy import front_door_before
from tests.deploy.composed import containers, made_variables
from tests.support.deadline import eventually

CANARY: Final = "c0ffee" * 8
WEBHOOK: Final = "/api/payments/webhook"
FAILING: Final = (
    ("GET", f"/api/payments/orders/ord_{CANARY}/events?ticket={CANARY}", {"Order-Token": CANARY}),
    ("GET", f"/api/payments/unsubscribe?token={CANARY}", {"Cookie": f"a={CANARY}"}),
    ("POST", "/api/payments/refund", {"Authorization": f"Bearer {CANARY}", "Idempotency-Key": CANARY}),
)


BEHIND: Final = ("webhook-ingest", "notifications", "refunds", "checkout")


@dataclass(frozen=True, slots=True)
class Door:
    """The demo's front door at `url`, and the file of what it writes down."""

    url: str
    log: Path

    def lines(self, logger: str) -> list[dict[str, Any]]:
        """What a logger of Caddy's wrote."""
        found = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in found if str(line.get("logger", "")).startswith(logger)]


async def _breaks_off(request: web.Request) -> web.StreamResponse:
    """Who knocks where Stripe does is refused; every other answer ends in its midst."""
    if request.path == WEBHOOK:
        return web.json_response({"code": "invalid_signature"}, status=400)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b"event: order\n")
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest_asyncio.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _breaks_off)
    container = containers(made_variables(tmp_path))["front-door"]
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as http:
        ways = {f"{service}:8000": f"127.0.0.1:{server.port}" for service in BEHIND}
        async with front_door_before(container, ways, tmp_path, http) as found:
            yield Door(found.url, tmp_path / "front-door.log")


async def test_whatever_fails_no_line_holds_what_was_asked_for(door: Door) -> None:
    async with aiohttp.ClientSession(door.url) as http:
        for method, path, headers in FAILING:
            with pytest.raises(aiohttp.ClientPayloadError):
                async with http.request(method, path, headers=headers) as answer:
                    await answer.read()
        async with http.post(WEBHOOK, headers={"Stripe-Signature": f"t=1,v1={CANARY}"}) as answer:
            assert answer.status == 400

    async def told() -> bool:
        return len(door.lines("http.handlers")) >= len(FAILING) and bool(door.lines("http.log.access"))

    await eventually(told, within_seconds=10, what="what the front door writes down")
    text = door.log.read_text()
    assert CANARY not in text
    assert "/api/payments" not in text
    (knocked,) = door.lines("http.log.access")
    assert (knocked["request"]["remote_ip"], knocked["status"]) == ("127.0.0.1", 400)
