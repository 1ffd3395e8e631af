"""Deliveries as Stripe makes them, and over raw sockets as nobody should."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.shopping import Shopper

PATH = "/api/payments/webhook"


def event(**given: Any) -> dict[str, Any]:
    value = {
        "id": f"evt_{time.time_ns()}", "object": "event", "type": "customer.created", "created": int(time.time()),
        "livemode": False, "api_version": "2026-08-26.dahlia", "pending_webhooks": 1, "request": None,
        "data": {"object": {"id": "cus_1", "object": "customer"}},
    }  # fmt: skip
    return {**value, **given}


def digest(moment: str, body: bytes, secret: str) -> str:
    """The signature of `body` at `moment`, which is signed as it is written, be it a number or not."""
    return hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


def signed(body: bytes, secret: str, *, at: float | None = None, scheme: str = "v1") -> str:
    moment = str(int(time.time() if at is None else at))
    return f"t={moment},{scheme}={digest(moment, body, secret)}"


def request(body: bytes, *lines: str | bytes, first: str = f"POST {PATH} HTTP/1.1", sent: bytes | None = None) -> bytes:
    """A request with exactly these header `lines`; `sent` in place of `body`."""
    head = [first.encode(), *(line if isinstance(line, bytes) else line.encode() for line in lines)]
    return b"\r\n".join(head) + b"\r\n\r\n" + (body if sent is None else sent)


@dataclass(frozen=True, slots=True)
class Received:
    """What came back until the server closed; times in seconds since the connection was opened."""

    raw: bytes
    answered: float | None
    closed: float

    @property
    def status(self) -> int | None:
        """None when the connection was closed without an answer."""
        return int(self.raw.split(b" ")[1]) if self.raw else None

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]


async def exchange(port: int, sent: bytes, *, within_seconds: float = 30.0) -> Received:
    """Send these bytes and nothing more, and read until the server closes; TimeoutError when it does not."""
    started = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    raw, answered = b"", None
    async with asyncio.timeout(within_seconds):
        while part := await reader.read(65536):
            answered = answered or time.monotonic() - started
            raw += part
    writer.close()
    return Received(raw, answered, time.monotonic() - started)


async def post(shopper: Shopper, body: bytes, *signatures: str | bytes, **headers: str) -> tuple[int, bytes, float]:
    """Over a raw socket, so that every byte of the header arrives as it is written: (status, body, seconds)."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines: Sequence[bytes] = [
        b"Host: x",
        b"Connection: close",
        *(f"{name}: {value}".encode() for name, value in fields.items() if value),
        *(b"Stripe-Signature: " + (s if isinstance(s, bytes) else s.encode()) for s in signatures),
    ]
    received = await exchange(shopper.deployment.public["webhook-ingest"], request(body, *lines))
    assert received.status is not None
    return received.status, received.body, received.closed


async def post_event(shopper: Shopper, value: dict[str, Any]) -> int:
    """Sign and send `value`; the status."""
    body = json.dumps(value).encode()
    return (await post(shopper, body, signed(body, shopper.deployment.secrets["webhook"])))[0]
