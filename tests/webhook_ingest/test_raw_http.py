"""Requests that parsers read differently, that never end, or that carry what no log may hold."""

import asyncio
import json
import re
import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from payments_shared.http import public_app, serving
from payments_shared.http.reading import BODY_DEADLINE_SECONDS
from payments_shared.http.serving import LINGER_SECONDS
from tests.support.shopping import Shopper, eventually
from tests.webhook_ingest.deliveries import PATH, event, exchange, post, request, signed

BODY = json.dumps(event(id="evt_framed")).encode()
SMUGGLED = json.dumps(event(id="evt_smuggled")).encode()
GRACE_SECONDS = 3.0  # for a machine that others use too
STORED = "SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id IN ('evt_framed', 'evt_smuggled')"


def chunked(body: bytes, *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n0\r\n%b\r\n" % (len(body), extension, body, trailers)


def head(secret: str, body: bytes = BODY, *, left_out: Sequence[str] = ()) -> list[str]:
    """The header lines of a good delivery but those that are left out."""
    lines = {
        "Host": "x",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Stripe-Signature": signed(body, secret),
    }
    return [f"{name}: {value}" for name, value in lines.items() if name not in left_out]


def ambiguous(secret: str) -> dict[str, bytes]:
    """Well signed requests whose frame, host or meaning two parsers could read in two ways."""
    whole, unsized = head(secret), head(secret, left_out=["Content-Length"])
    chunks = chunked(BODY)
    length = f"Content-Length: {len(BODY)}"
    smuggled = request(SMUGGLED, *head(secret, SMUGGLED))
    return {
        "both framings, chunks sent": request(BODY, *whole, "Transfer-Encoding: chunked", sent=chunks),
        "both framings, a second request inside": request(
            BODY, *whole, "Transfer-Encoding: chunked", sent=b"0\r\n\r\n" + smuggled
        ),
        "xchunked": request(BODY, *unsized, "Transfer-Encoding: xchunked", sent=chunks),
        "xchunked and a length": request(BODY, *whole, "Transfer-Encoding: xchunked"),
        "two codings": request(
            BODY, *unsized, "Transfer-Encoding: chunked", "Transfer-Encoding: identity", sent=chunks
        ),
        "two equal types": request(BODY, *whole, "Content-Type: application/json"),
        "two types": request(BODY, *whole, "Content-Type: text/plain"),
        "two hosts": request(BODY, *whole, "Host: y"),
        "two equal hosts": request(BODY, *whole, "Host: x"),
        "no host": request(BODY, *head(secret, left_out=["Host"])),
        "two equal lengths": request(BODY, *whole, length),
        "two lengths": request(BODY, *whole, "Content-Length: 5"),
        "a list of lengths": request(BODY, *unsized, f"{length}, {len(BODY)}"),
        "signed length": request(BODY, *unsized, f"Content-Length: +{len(BODY)}"),
        "negative length": request(BODY, *unsized, "Content-Length: -1"),
        "bare line feeds": request(BODY, *whole).replace(b"\r\n", b"\n"),
        "folded header": request(BODY, *whole, "X-A: a\r\n b"),
        "space before the colon": request(BODY, *whole, "X-A : a"),
        "NUL": request(BODY, *whole, b"X-A: a\x00b"),
        "header of 9 KB": request(BODY, *whole, "X-A: " + "a" * 9000),
        "1000 headers": request(BODY, *whole, *(f"X-{n}: a" for n in range(1000))),
        "10,000 trailers": request(
            BODY, *unsized, "Transfer-Encoding: chunked", sent=chunked(BODY, trailers=b"X-A: a\r\n" * 10_000)
        ),
        "HTTP/3.0": request(BODY, *whole, first=f"POST {PATH} HTTP/3.0"),
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "lower case method": request(BODY, *whole, first=f"post {PATH} HTTP/1.1"),
    }


@pytest.mark.parametrize("name", ambiguous("x" * 16))
async def test_an_ambiguous_request_is_refused_closed_and_leaves_nothing(
    shopper: Shopper, secret: str, name: str
) -> None:
    answer = await exchange(shopper.deployment.public["webhook-ingest"], ambiguous(secret)[name])

    assert answer.status == 400
    assert len(re.findall(rb"^HTTP/1\.[01] \d{3}", answer.raw, re.MULTILINE)) == 1, "what followed was executed"
    assert answer.closed < GRACE_SECONDS
    assert secret.encode() not in answer.raw
    assert await shopper.count(STORED) == 0


def elsewhere(secret: str) -> dict[str, tuple[int, bytes]]:
    """Requests that are well formed and not for this door: the status, and the request."""
    whole, unsized = [*head(secret), "Connection: close"], head(secret, left_out=["Content-Length"])
    chunks = [*unsized, "Transfer-Encoding: chunked", "Connection: close"]
    return {
        "chunks": (411, request(BODY, *chunks, sent=chunked(BODY))),
        "chunks with 64 KB of extensions": (411, request(BODY, *chunks, sent=chunked(BODY, extension=b";" + b"a" * 65_536))),
        "dots": (404, request(BODY, *whole, first="POST /api/x/../payments/webhook HTTP/1.1")),
        "coded dots": (404, request(BODY, *whole, first="POST /api/x/%2e%2e/payments/webhook HTTP/1.1")),
        "double slash": (404, request(BODY, *whole, first="POST /api//payments/webhook HTTP/1.1")),
        "unknown expectation": (417, request(BODY, *whole, "Expect: something-else")),
        "GET": (405, request(BODY, *whole, first=f"GET {PATH} HTTP/1.1")),
    }  # fmt: skip


@pytest.mark.parametrize("name", elsewhere("x" * 16))
async def test_a_request_that_is_not_for_this_door_is_refused_and_leaves_nothing(
    shopper: Shopper, secret: str, name: str
) -> None:
    expected, sent = elsewhere(secret)[name]

    answer = await exchange(shopper.deployment.public["webhook-ingest"], sent)

    assert answer.status == expected
    assert await shopper.count(STORED) == 0


# -- silence ---------------------------------------------------------------------------------------------------------


async def test_whoever_falls_silent_is_closed_in_time_and_keeps_nobody_waiting(shopper: Shopper, secret: str) -> None:
    """Two hundred half bodies at once: the waits run side by side."""
    port = shopper.deployment.public["webhook-ingest"]
    good = request(BODY, *head(secret))
    unwanted = request(BODY, "Host: x", "Content-Type: text/plain", "Content-Length: 100", sent=b"half")
    half_bodies = [exchange(port, good[:-20]) for _ in range(200)]
    waiting = asyncio.gather(*half_bodies, exchange(port, unwanted))
    served = []

    while not waiting.done():
        body = json.dumps(event()).encode()
        served.append(await post(shopper, body, signed(body, secret)))
        await asyncio.wait({waiting}, timeout=0.1)

    *bodies, early = waiting.result()
    latest = BODY_DEADLINE_SECONDS + GRACE_SECONDS
    assert {answer.status for answer in bodies} == {408}
    assert all(BODY_DEADLINE_SECONDS - 0.1 < (answer.answered or 0) < latest for answer in bodies)
    assert max(answer.closed for answer in bodies) < latest + LINGER_SECONDS
    assert (early.status, early.closed < LINGER_SECONDS + GRACE_SECONDS) == (415, True)
    assert {status for status, _, _ in served} == {200}
    assert sorted(seconds for _, _, seconds in served)[len(served) * 9 // 10] < 0.5
    assert await shopper.count(STORED) == 0


async def test_half_a_head_is_closed_as_soon_as_a_connection_that_nobody_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 1.0)
    server = await serving.serve(public_app(service="test"), host="127.0.0.1", port=0)
    halves = (b"", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Le", b"GET /a HTTP/1.1\r\n")

    answers = await asyncio.gather(*(exchange(server.port, half) for half in halves))
    await server.stop()

    assert {answer.status for answer in answers} == {None}, "closed without an answer"
    assert max(answer.closed for answer in answers) < 1 + GRACE_SECONDS


# -- the log ---------------------------------------------------------------------------------------------------------


def log_of(shopper: Shopper) -> str:
    return shopper.deployment.children["webhook-ingest"].log.read_bytes().decode("ascii")


@pytest.mark.parametrize(
    "agent", [b"Stripe/1.0", b"\xff", b'", "status": 200, "x": "', "a\u2028b\u0085c".encode()],
    ids=["plain", "byte 0xFF", "quotes", "line separators"],
)  # fmt: skip
@pytest.mark.parametrize(("path", "route"), [(PATH, PATH), ("/nowhere/at-all", "unmatched")])
async def test_a_request_has_one_line_in_the_log_without_its_query_or_path(
    shopper: Shopper, secret: str, path: str, route: str, agent: bytes
) -> None:
    request_id, canary = "line-" + secrets.token_hex(8), "canary" + secrets.token_hex(8)
    body = json.dumps(event()).encode()
    named = [f"X-Request-Id: {request_id}", "Connection: close"]
    first = f"POST {path}?secret={canary} HTTP/1.1"

    answer = await exchange(
        shopper.deployment.public["webhook-ingest"],
        request(body, *head(secret, body), *named, b"User-Agent: " + agent, first=first),
    )

    async def logged() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log_of(shopper).split("\n") if request_id in line]

    found = await eventually(logged, what="the line of the request")
    assert [{name: value for name, value in line.items() if name not in ("timestamp", "ms")} for line in found] == [
        {
            "event": "http.request",
            "service": "webhook-ingest",
            "method": "POST",
            "route": route,
            "status": 200 if route == PATH else 404,
            "request_id": request_id,
            "trace_id": found[0]["trace_id"],
        }
    ]
    assert re.fullmatch("[0-9a-f]{32}", found[0]["trace_id"])
    assert answer.status == found[0]["status"]
    assert canary not in log_of(shopper)
    assert "at-all" not in log_of(shopper)


async def test_what_the_parser_refuses_is_logged_without_a_byte_of_it(shopper: Shopper, secret: str) -> None:
    port, canary = shopper.deployment.public["webhook-ingest"], "canary" + secrets.token_hex(8)
    line = f"POST {PATH}?secret={canary} HTTP/"
    lines = [*head(secret), f"Authorization: Bearer {canary}", f"X-A: {canary}"]
    before = log_of(shopper).count("http.unparseable")

    await exchange(port, request(BODY, *lines, first=line + "3.0"))
    await exchange(port, request(BODY, *lines, first=line + "1.1").replace(b"\r\n", b"\n"))
    await exchange(port, request(BODY, *lines, f"X-B: {canary}\x00", first=line + "1.1"))

    async def logged() -> bool:
        return log_of(shopper).count("http.unparseable") == before + 3

    await eventually(logged, what="a line for each")
    assert canary not in log_of(shopper)
    assert all(json.loads(entry) for entry in log_of(shopper).splitlines())
