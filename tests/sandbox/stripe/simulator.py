"""A simulator of a test's own, a shop that hears its deliveries, and a judge over every answer."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.services import warm
from sandbox.services.children import Child, clean_environment, free_ports, listening
from sandbox.stripe.app import application
from sandbox.stripe.settings import Settings
from tests.support.deadline import eventually
from tests.support.stripe_spec import validate_event, validate_request, validate_response

Json = dict[str, Any]  # Any: JSON
SECRET: Final = "whsec_" + "0123456789abcdef" * 2
KEY: Final = "sk_test_" + "0123456789abcdef" * 2
CARD: Final = "4242424242424242"
SHOP: Final = "http://127.0.0.1:9/shop"  # nothing follows the redirect


@dataclass(frozen=True, slots=True)
class Heard:
    """One delivery as it came over the wire."""

    body: bytes
    signature: str

    @property
    def event(self) -> Json:
        return dict(json.loads(self.body))


@dataclass(slots=True)
class Shop:
    """The receiver of deliveries. `answers` are the statuses to give, the last one for ever."""

    url: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    heard: list[Heard] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        """Remember the delivery, and answer as it was planned."""
        self.heard.append(Heard(await request.read(), request.headers["Stripe-Signature"]))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    def types(self) -> list[str]:
        """The types of the deliveries, in the order of their arrival."""
        return [heard.event["type"] for heard in self.heard]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API."""

    status: int
    body: Json
    headers: Mapping[str, str]

    @property
    def error(self) -> Json:
        return dict(self.body["error"])


@dataclass(slots=True)
class Simulator:
    """A running simulator. Every answer of its API is judged by Stripe's specification as it comes in."""

    url: str
    http: aiohttp.ClientSession
    shop: Shop
    driven: set[tuple[str, str]] = field(default_factory=set)

    async def call(
        self,
        method: str,
        path: str,
        form: Json | None = None,
        *,
        key: str | None = None,
        lawful: bool = True,
        judged: bool = True,
    ) -> Answer:
        """One call of the API. A request that is not `lawful` breaks the specification on purpose."""
        text = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs(form or {}))
        if lawful:
            validate_request(method, path, text)
        headers = {"Authorization": f"Bearer {KEY}"} | ({"Idempotency-Key": key} if key else {})
        url = f"{self.url}{path}" + (f"?{text}" if method != "POST" and text else "")
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.http.request(method, url, data=text if method == "POST" else None, headers=headers) as answer:
            body = json.loads(await answer.read())
            if judged:
                validate_response(method, path, answer.status, body)
            self.driven.add((method, path))
            return Answer(answer.status, body, dict(answer.headers))

    async def post(self, path: str, form: Json | None = None, *, key: str | None = None) -> Json:
        """A POST that succeeds."""
        answer = await self.call("POST", "/v1/" + path, form, key=key)
        assert answer.status == 200, answer
        return answer.body

    async def upload(
        self, content: bytes, purpose: str = "dispute_evidence", name: str = "evidence.pdf", *, key: str | None = None
    ) -> Answer:
        """A file is uploaded; the boundary of its parts is drawn anew each time."""
        form = aiohttp.FormData()
        form.add_field("purpose", purpose)
        form.add_field("file", content, filename=name, content_type="application/octet-stream")
        headers = {"Authorization": f"Bearer {KEY}"} | ({"Idempotency-Key": key} if key else {})
        async with self.http.post(f"{self.url}/v1/files", data=form, headers=headers) as answer:
            body = json.loads(await answer.read())
            validate_response("POST", "/v1/files", answer.status, body)
            self.driven.add(("POST", "/v1/files"))
            return Answer(answer.status, body, dict(answer.headers))

    async def get(self, path: str, form: Json | None = None) -> Json:
        """A GET that succeeds."""
        answer = await self.call("GET", "/v1/" + path, form)
        assert answer.status == 200, answer
        return answer.body

    async def refused(
        self, method: str, path: str, form: Json, *, key: str | None = None, judged: bool = True
    ) -> Answer:
        """A call that is not as specified, or asks for what cannot be."""
        answer = await self.call(method, path, form, key=key, lawful=False, judged=judged)
        assert answer.status >= 400, answer
        return answer

    async def control(self, path: str, body: Json | None = None, *, method: str = "POST") -> Json:
        """One of the simulator's controls."""
        async with self.http.request(method, f"{self.url}/_sim/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())

    async def later(self, seconds: float) -> None:
        """Move the simulated clock."""
        await self.control("clock", {"advance_seconds": seconds})

    # -- a purchase --------------------------------------------------------------------------------------------------

    async def session(self, amount: int = 1800, **given: Any) -> Json:  # Any: parameters
        """An open session over `amount` dollar cents."""
        return await self.post("checkout/sessions", a_session(amount, **given))

    async def submit(self, session: Json, card: str = CARD, *, method: str = "card") -> tuple[int, str]:
        """Submit the hosted page as a browser would: the status, and where it leads or what it says."""
        form = {"number": card, "email": "ada@example.com", "name": "Ada Lovelace", "method": method}
        return await self.fill(f"{self.url}/c/pay/{session['id']}", form)

    async def fill(self, url: str, form: Mapping[str, str]) -> tuple[int, str]:
        """Submit a form of the hosted page."""
        async with self.http.post(url, data=form, allow_redirects=False) as answer:
            text = await answer.text()
            return answer.status, answer.headers.get("Location", text)

    async def paid(self, amount: int = 1800, card: str = CARD, **given: Any) -> Json:  # Any: parameters
        """A session that was paid on the page."""
        session = await self.session(amount, **given)
        assert (await self.submit(session, card))[0] == 303
        return await self.get(f"checkout/sessions/{session['id']}")

    # -- events ------------------------------------------------------------------------------------------------------

    async def events(self, **given: Any) -> list[Json]:  # Any: parameters
        """All events, oldest first, each judged."""
        found: list[Json] = []
        page = await self.get("events", {"limit": 100, **given})
        while True:
            found += page["data"]
            if not page["has_more"]:
                break
            page = await self.get("events", {"limit": 100, **given, "starting_after": found[-1]["id"]})
        for event in found:
            validate_event(event)
        return found[::-1]

    async def types(self) -> list[str]:
        """The types of all events, oldest first."""
        return [event["type"] for event in await self.events()]

    async def hears(self, count: int) -> list[Heard]:
        """The shop's deliveries once there are `count` of them."""

        async def enough() -> bool:
            return len(self.shop.heard) >= count

        await eventually(enough, what=f"{count} deliveries; so far {self.shop.types()}")
        return self.shop.heard

    async def quiet(self) -> None:
        """Wait until no event waits for its delivery."""

        async def none_waits() -> bool:
            return bool((await self.control("deliveries", method="GET"))["waiting"] == 0)

        await eventually(none_waits, what="deliveries")


def a_session(amount: int = 1800, **given: Any) -> Json:  # Any: parameters
    """Parameters of a session."""
    product = {"currency": "usd", "unit_amount": amount, "product_data": {"name": "Tea"}}
    return {
        "mode": "payment",
        "success_url": SHOP + "/success?session={CHECKOUT_SESSION_ID}",
        "cancel_url": SHOP + "/cart",
        "line_items": [{"quantity": 1, "price_data": product}],
        **given,
    }


def pairs(value: Any, name: str = "") -> Iterator[tuple[str, str]]:  # Any: parameters
    """Nested parameters as the names and values of a form."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from pairs(item, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from pairs(item, f"{name}[{index}]")
    else:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Shop]:
    """A shop that hears deliveries."""
    shop = Shop()
    app = web.Application()
    app.router.add_post("/webhook", shop.receive)
    async with TestServer(app, host="127.0.0.1") as server:
        shop.url = str(server.make_url("/webhook"))
        yield shop


@contextlib.asynccontextmanager
async def simulating(folder: Path) -> AsyncIterator[Simulator]:
    """A simulator inside this process, which delivers to a shop of its own."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    async with receiving() as shop, aiohttp.ClientSession() as http:
        settings = Settings(port=port, public_url=url, data_dir=folder, webhook_url=shop.url, webhook_secret=SECRET)
        async with TestServer(await application(settings), host="127.0.0.1", port=port):
            yield Simulator(url, http, shop)


@dataclass(slots=True)
class Process:
    """A simulator as a process of its own, which can be killed and started again on what it wrote."""

    folder: Path
    http: aiohttp.ClientSession
    shop: Shop
    port: int = field(default_factory=lambda: free_ports(1)[0])
    child: Child = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        environment = clean_environment(
            SANDBOX_STRIPE_PORT=str(self.port),
            SANDBOX_STRIPE_PUBLIC_URL=self.url,
            SANDBOX_STRIPE_DATA_DIR=str(self.folder / "data"),
            SANDBOX_STRIPE_WEBHOOK_URL=self.shop.url,
            SANDBOX_STRIPE_WEBHOOK_SECRET=SECRET,
        )
        self.child = warm.run("stripe", "sandbox.stripe", log=self.folder / "stripe.log", environment=environment)
        self.child.wait_until(lambda: listening(self.port), timeout_seconds=30)

    async def post(self, path: str, form: Json, *, key: str | None = None) -> Json:
        """A POST that succeeds."""
        headers = {"Authorization": f"Bearer {KEY}"} | ({"Idempotency-Key": key} if key else {})
        async with self.http.post(f"{self.url}/v1/{path}", data=dict(pairs(form)), headers=headers) as answer:
            body = json.loads(await answer.read())
            assert answer.status == 200, body
            return dict(body)

    async def get(self, path: str, form: Json | None = None) -> Json:
        """A GET that succeeds."""
        headers = {"Authorization": f"Bearer {KEY}"}
        async with self.http.get(f"{self.url}/v1/{path}", params=dict(pairs(form or {})), headers=headers) as answer:
            assert answer.status == 200
            return dict(await answer.json())

    async def control(self, path: str, body: Json) -> None:
        """One of the simulator's controls."""
        async with self.http.post(f"{self.url}/_sim/{path}", json=body) as answer:
            assert answer.status == 200
