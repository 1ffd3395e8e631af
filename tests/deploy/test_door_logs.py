"""What the front door writes down: who knocks at the webhook's door, and of no request what it holds."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.services.children import Child, clean_environment, free_ports, spawn
from tests.deploy.composed import containers, front_door, made_variables
from tests.deploy.tools import of_environment
from tests.support.deadline import eventually

CANARY: Final = "c0ffee" * 8
WEBHOOK: Final = "/api/payments/webhook"
FAILING: Final = (
    ("GET", f"/api/payments/orders/ord_{CANARY}/events?ticket={CANARY}", {"Order-Token": CANARY}),
    ("GET", f"/api/payments/unsubscribe?token={CANARY}", {"Cookie": f"a={CANARY}"}),
    ("POST", "/api/payments/refund", {"Authorization": f"Bearer {CANARY}", "Idempotency-Key": CANARY}),
)


class Door:
    """The demo's front door, with `behind` in place of all services."""

    def __init__(self, folder: Path, behind: int) -> None:
        self.port, secure = free_ports(2)
        self.log = folder / "front-door.log"
        ports = {"8080": self.port, "8443": secure}

        def site(found: re.Match[str]) -> str:
            return f"{found[1] or 'http://127.0.0.1'}:{ports[found[2]]} {{\n\tbind 127.0.0.1"

        file = front_door(containers(made_variables(folder))["front-door"], folder / "door")
        for part in file.parent.rglob("*addy*"):
            text = re.sub(r"(reverse_proxy) [a-z-]+:\d+", rf"\1 127.0.0.1:{behind}", part.read_text())
            text = re.sub(r"(https?_port) (\d+)", lambda found: f"{found[1]} {ports[found[2]]}", text)
            text = re.sub(r"^(\S*):(\d+) \{", site, text, flags=re.MULTILINE)
            part.write_text(text.replace("lb_try_duration 10s", "lb_try_duration 200ms"))
        command = [of_environment("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]
        environment = clean_environment(HOME=str(folder), XDG_DATA_HOME=str(folder / "caddy"))
        self.child: Child = spawn("front-door", command, log=self.log, environment=environment)

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
    async with TestServer(app, host="127.0.0.1") as server:
        assert server.port is not None
        made = Door(tmp_path, server.port)
        try:
            yield made
        finally:
            made.child.stop(timeout_seconds=20)


async def test_whatever_fails_no_line_holds_what_was_asked_for(door: Door) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{door.port}") as http:

        async def answers() -> bool:
            try:
                async with http.get("/_door/healthz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(answers, within_seconds=30, what="the front door")
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
