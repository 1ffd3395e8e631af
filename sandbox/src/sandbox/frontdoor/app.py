"""Route by path, hand bytes through untouched: webhook signatures are over the raw body."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
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
BODY_MAX_BYTES: Final = 2 * 1024 * 1024


def application(settings: Settings) -> web.Application:
    """`/api/payments/webhook` to webhook-ingest, the rest of `/api/payments/` to checkout, `/shop` to the shop."""
    app = web.Application(client_max_size=BODY_MAX_BYTES)
    sessions: dict[str, aiohttp.ClientSession] = {}

    async def run(_: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=500)
        sessions["http"] = aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False)
        yield
        await sessions["http"].close()

    async def forward(request: web.Request) -> web.StreamResponse:
        target = _target(settings, request.path)
        if target is None:
            return web.json_response({"title": "Not Found", "status": 404, "code": "not_found"}, status=404)
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
    if path.startswith("/api/payments/"):
        return settings.checkout_url
    if path == "/shop" or path.startswith("/shop/"):
        return settings.shop_url
    return None


async def _forwarded(http: aiohttp.ClientSession, request: web.Request, target: str) -> web.StreamResponse:
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
    headers += [("X-Forwarded-For", request.remote or ""), ("X-Forwarded-Proto", request.scheme)]
    headers.append(("X-Forwarded-Host", request.host))
    body = await request.read()
    url = target.rstrip("/") + request.raw_path
    try:
        async with http.request(
            request.method,
            URL(url, encoded=True),
            headers=headers,
            data=body or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=30),
        ) as answer:
            return web.Response(status=answer.status, body=await answer.read(), headers=_kept(answer.headers))
    except TimeoutError:
        return _problem(504, "upstream_timeout")
    except (aiohttp.ClientError, OSError):
        return _problem(502, "upstream_unavailable")


def _kept(headers: Mapping[str, str]) -> CIMultiDict[str]:
    kept = CIMultiDict[str]()
    for name, value in headers.items():
        if name.lower() not in HOP_BY_HOP | {"content-length"}:
            kept.add(name, value)
    return kept


def _problem(status: int, code: str) -> web.Response:
    body = {"type": f"urn:payments:problem:{code}", "title": "Bad Gateway", "status": status, "code": code}
    return web.json_response(body, status=status, content_type="application/problem+json")
