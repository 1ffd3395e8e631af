"""Route by path, hand bytes through untouched: webhook signatures are over the raw body."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from sandbox.frontdoor.settings import Settings

HOP_BY_HOP: Final = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
    ]
)
# Ours to say; what a caller writes into them is not believed. Only the list of addresses is continued.
FORWARDED: Final = frozenset(["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"])
OF_REFUNDS: Final = frozenset(
    ["/api/payments/refund", "/api/payments/refunds", "/api/payments/refund-report", "/api/payments/disputes"]
)
PATIENCE_SECONDS: Final = 30.0  # for a whole answer, and between two pieces of a stream
KEPT_SECONDS: Final = 1.0  # unused: less than a service takes to leave, so that none is used while it is being closed
BODY_MAX_BYTES: Final = 2 * 1024 * 1024


def application(settings: Settings) -> web.Application:
    """`/api/payments/webhook` to webhook-ingest, `/api/payments/unsubscribe` to notifications, refunds and disputes to refunds, the
    rest of `/api/payments/` to checkout, `/shop` to the shop."""
    app = web.Application(client_max_size=BODY_MAX_BYTES)
    sessions: dict[str, aiohttp.ClientSession] = {}

    async def run(_: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(
            limit=2000, keepalive_timeout=KEPT_SECONDS
        )  # a stream keeps its own for minutes
        patience = aiohttp.ClientTimeout(total=None, sock_read=PATIENCE_SECONDS)
        sessions["http"] = aiohttp.ClientSession(
            connector=connector, timeout=patience, auto_decompress=False, trust_env=False
        )
        yield
        await sessions["http"].close()

    async def forward(request: web.Request) -> web.StreamResponse:
        target = _target(settings, request.path)
        if target is None:
            return _problem(404, "not_found")
        return await _forwarded(sessions["http"], request, target)

    async def home(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/shop")

    async def health(_: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    app.cleanup_ctx.append(run)
    app.router.add_get("/_door/healthz", health)
    app.router.add_get("/", home)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def _target(settings: Settings, path: str) -> str | None:
    if path == "/api/payments/webhook":
        return settings.ingest_url
    if path == "/api/payments/unsubscribe":
        return settings.notifications_url
    if path in OF_REFUNDS or path.startswith(("/api/payments/refunds/", "/api/payments/disputes/")):
        return settings.refunds_url
    if path.startswith("/api/payments/"):
        return settings.checkout_url
    if path == "/shop" or path.startswith("/shop/"):
        return settings.shop_url
    return None


async def _forwarded(http: aiohttp.ClientSession, request: web.Request, target: str) -> web.StreamResponse:
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return _problem(413, "body_too_large")
    headers = _passed_on(request.headers, without=HOP_BY_HOP | FORWARDED)
    before = ", ".join(request.headers.getall("X-Forwarded-For", []))
    headers.add("X-Forwarded-For", ", ".join(filter(None, (before, request.remote))))
    headers.add("X-Forwarded-Proto", request.scheme)
    headers.add("X-Forwarded-Host", request.host)
    # The path as it was sent: neither decoded nor made tidy, and never another host's.
    url = URL(target.rstrip("/") + request.rel_url.raw_path_qs, encoded=True)
    try:
        async with (
            asyncio.timeout(PATIENCE_SECONDS) as patience,
            http.request(request.method, url, headers=headers, data=body or None, allow_redirects=False) as answer,
        ):
            if answer.content_type == "text/event-stream":
                patience.reschedule(None)
                return await _streamed(request, answer)
            # Only an answer to HEAD keeps its length: it speaks of a body that is not there.
            without = HOP_BY_HOP if request.method == "HEAD" else HOP_BY_HOP | {"content-length"}
            kept = _passed_on(answer.headers, without=without)
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)
    except TimeoutError:
        return _problem(504, "upstream_timeout")
    except (aiohttp.ClientError, OSError):
        return _problem(502, "upstream_unavailable")


async def _streamed(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Each piece as it comes. A reader who leaves, and a service that goes away, end it."""
    headers = _passed_on(answer.headers, without=HOP_BY_HOP | {"content-length"})
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_any():
            await response.write(piece)
    except (TimeoutError, aiohttp.ClientError, OSError):
        response.force_close()
    return response


def _passed_on(headers: "CIMultiDictProxy[str]", *, without: frozenset[str]) -> CIMultiDict[str]:
    """What is meant for whoever is behind us: not what the neighbour declared to be between him and us."""
    named = {name.strip().lower() for value in headers.getall("Connection", []) for name in value.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in without | named)


def _problem(status: int, code: str) -> web.Response:
    title = HTTPStatus(status).phrase
    body = {"type": f"urn:payments:problem:{code}", "title": title, "status": status, "code": code}
    return web.json_response(body, status=status, content_type="application/problem+json")
